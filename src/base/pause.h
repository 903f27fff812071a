/* Named places at which a test may stop or end the process, to see what a crash there leaves behind. Nothing at all unless built with
 * -Dpause_points=true. TERMINALS_PAUSE_AT names the point; with "=kill" behind the name the process ends there as by kill -9, else it
 * stops (SIGSTOP) until it is continued or killed. A point acts once in a process. Any thread. */
#ifndef BASE_PAUSE_H
#define BASE_PAUSE_H

#ifdef TERMINALS_PAUSE_POINTS
void pause_point(const char *name);
#else
#define pause_point(name) ((void)0)
#endif

#endif
