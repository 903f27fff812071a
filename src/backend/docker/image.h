/* Makes sure that images are on the engine. One pull for all who wait for the same image; it goes on when a waiter gives up, so that an image
 * larger than one request's patience arrives in the end. Any thread. */
#ifndef BACKEND_DOCKER_IMAGE_H
#define BACKEND_DOCKER_IMAGE_H

#include "backend/docker/engine.h"

struct pulls;

struct pulls *pulls_new(struct engine *engine) MUST_CHECK;
/* Ends running pulls, now and for ever; all who wait get ERR_UNAVAILABLE at once. */
void pulls_cancel(struct pulls *pulls);
/* Cancels, and waits for the pulls' threads (about a second). */
void pulls_free(struct pulls *pulls);

/* Pulls the image, or joins the pull that runs, and waits until `deadline_ms` (monotonic). ERR_IMAGE_NOT_FOUND with the registry's words;
 * ERR_STARTING when the time is over and the pull goes on; ERR_UNAVAILABLE when the engine went away
 * or pulls are cancelled. */
int pulls_wait(struct pulls *pulls, const char *image, int64_t deadline_ms, struct error *err) MUST_CHECK;

/* --- pure, for tests ------------------------------------------------------------------------------------------ */

/* What a pull's stream of JSON lines has told so far. Zero-initialised is the beginning. */
struct pull_progress {
    struct buf line;                    /* an unfinished line */
    char text[160];                     /* the newest status for people: "Downloading 12 of 345 MB" */
    char failure[512];                  /* the stream's error, or "" */
};
/* Takes the next piece. False: the stream is not what an engine sends. */
bool pull_progress_take(struct pull_progress *progress, struct str data);

#endif
