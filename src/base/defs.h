/* Attributes and small macros that every module uses. No declarations of functions with state here. */
#ifndef BASE_DEFS_H
#define BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text_at, first_at) __attribute__((format(printf, text_at, first_at)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The object of `type` whose field `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* Checks an invariant in every build; prints the place and aborts. For the program's own mistakes only. */
#define ASSERT(condition) \
    ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *condition, const char *file, int line);

/* Gives the pointer away: the value, with NULL left in its place, so that a cleanup attribute does nothing. */
#define steal(place) ({ __typeof__(*(place)) stolen_ = *(place); *(place) = NULL; stolen_; })

static inline void cleanup_free_pointer(void *place) { free(*(void **)place); }
static inline void cleanup_close_fd(const int *fd) { if (*fd >= 0) (void)close(*fd); }
static inline void cleanup_close_file(FILE **file) { if (*file) (void)fclose(*file); }

#define cleanup_free __attribute__((cleanup(cleanup_free_pointer)))
#define cleanup_fd __attribute__((cleanup(cleanup_close_fd)))
#define cleanup_file __attribute__((cleanup(cleanup_close_file)))

/* Memory for the control plane: never NULL; the process ends with a message when there is none.
 * The gateway uses malloc and refuses the connection instead. The caller frees. */
void *xmalloc(size_t size) MUST_CHECK;
void *xcalloc(size_t count, size_t size) MUST_CHECK;
void *xrealloc(void *memory, size_t size) MUST_CHECK;
char *xstrdup(const char *text) MUST_CHECK;
char *xstrndup(const char *text, size_t len) MUST_CHECK;
/* `*place`, which is owned and may be NULL, becomes a copy of `text`, or NULL. */
void xreplace(char **place, const char *text);
char *xasprintf(const char *format, ...) PRINTF_LIKE(1, 2) MUST_CHECK;

#endif
