/* llhttp's header beside ours: both name their methods HTTP_GET and so on, so llhttp's get other names here. */
#ifndef SECOND_OPINION_H
#define SECOND_OPINION_H

#define HTTP_GET LLHTTP_GET
#define HTTP_HEAD LLHTTP_HEAD
#define HTTP_POST LLHTTP_POST
#define HTTP_PUT LLHTTP_PUT
#define HTTP_PATCH LLHTTP_PATCH
#define HTTP_DELETE LLHTTP_DELETE
#define HTTP_OPTIONS LLHTTP_OPTIONS
#include "llhttp.h"
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_PATCH
#undef HTTP_DELETE
#undef HTTP_OPTIONS

#endif
