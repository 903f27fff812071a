/* Files and directories, never following a symbolic link that somebody else may have planted. Any thread; blocking. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"
#include "base/error.h"

/* The whole file, at most `limit` bytes, NUL-terminated besides. The caller frees `*data`. */
int file_read(const char *path, size_t limit, char **data, size_t *len, struct error *err) MUST_CHECK;
/* Replaces the file by temporary file, fsync and rename: either the old or the new contents are there. */
int file_write_atomic(const char *path, struct str data, unsigned mode, struct error *err) MUST_CHECK;

/* Opens the directory `path` (the last part may not be a link); the caller closes. Negative on failure. */
int dir_open(const char *path, struct error *err) MUST_CHECK;
/* Makes `name` (one path component) under `parent` if it is missing, with the mode and, when not -1, the owner, and
 * opens it without following links. Negative on failure. */
int dir_make_at(int parent, const char *name, unsigned mode, int uid, int gid, struct error *err) MUST_CHECK;
/* Removes everything inside the open directory, descending without following links or crossing into other
 * file systems; the directory itself stays. */
int dir_empty(int dir, struct error *err) MUST_CHECK;
/* The directory that `path` lies in: "/" at the top, "." for a bare name. The caller frees. */
char *path_directory(const char *path) MUST_CHECK;
/* Whether `name` is a plain path component: not empty, no '/', no NUL, not "." or "..", at most 255 bytes. */
bool path_component_is_plain(struct str name);

#endif
