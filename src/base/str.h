/* Text as pointer and length: the form of everything that comes from a wire. A `struct str` owns nothing;
 * whoever hands one out says how long its bytes live. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <string.h>

#include "base/defs.h"

struct str {
    const char *data;       /* not NUL-terminated; may be NULL when len is 0 */
    size_t len;
};

#define STR_LITERAL(text) ((struct str){ "" text, sizeof(text) - 1 })
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).data ? (s).data : ""

static inline struct str str_from(const char *text) { return (struct str){ text, text ? strlen(text) : 0 }; }
static inline struct str str_of(const char *data, size_t len) { return (struct str){ data, len }; }

bool str_equal(struct str a, struct str b);
bool str_equal_text(struct str a, const char *b);
/* Compares ASCII without case. */
bool str_equal_nocase(struct str a, struct str b);
bool str_starts_with(struct str s, struct str prefix);
bool str_ends_with(struct str s, struct str suffix);
/* Without leading and trailing spaces, TABs, CRs and LFs. */
struct str str_trim(struct str s);
/* The part of `s` from byte `from` on (empty when past its end). */
struct str str_skip(struct str s, size_t from);
/* Index of the first `c`, or SIZE_MAX. */
size_t str_find_char(struct str s, char c);
/* Cuts the part before the first `separator` off the front of `*rest` and gives it in `*part`. False when
 * nothing is left; "a,,b" gives three parts. */
bool str_next_part(struct str *rest, char separator, struct str *part);
/* A NUL-terminated copy; the caller frees. */
char *str_dup(struct str s) MUST_CHECK;
/* Whole text as an unsigned or signed decimal number. False on anything else, including overflow. */
bool str_to_u64(struct str s, uint64_t *value);
bool str_to_i64(struct str s, int64_t *value);
/* The length in bytes of the well-formed UTF-8 sequence that `s` begins with, 0 when it begins with none; `*code` is its code point. */
size_t str_utf8_first(struct str s, uint32_t *code);
/* Well-formed UTF-8 (no surrogates, no overlong forms). */
bool str_is_utf8(struct str s);
/* Holds a byte below 0x20 or 0x7f. */
bool str_has_control(struct str s);
/* Percent-decodes into `out` (at least s.len bytes); false on a malformed escape. `*len` is what was written.
 * `plus_is_space` for query components. */
bool str_percent_decode(struct str s, bool plus_is_space, char *out, size_t *len);

#endif
