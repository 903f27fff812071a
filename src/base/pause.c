/* See pause.h. */
#include "base/pause.h"

#ifdef TERMINALS_PAUSE_POINTS
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/defs.h"
#include "base/log.h"

void pause_point(const char *name)
{
    static atomic_bool done;
    const char *wanted = getenv("TERMINALS_PAUSE_AT");
    size_t len = strlen(name);

    if (!wanted || strncmp(wanted, name, len) != 0 || (wanted[len] && wanted[len] != '=') || atomic_exchange(&done, true))
        return;
    log_warning("at the pause point", LOG_STR("point", name));
    (void)kill(getpid(), strcmp(wanted + len, "=kill") == 0 ? SIGKILL : SIGSTOP);
}
#else
/* A file without a declaration is not C. */
extern const char pause_points_are_compiled_out;
#endif
