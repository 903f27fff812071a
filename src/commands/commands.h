/* The subcommands of the program. Each gets its own argv (argv[0] is its name) and returns the exit status. Main thread. */
#ifndef COMMANDS_COMMANDS_H
#define COMMANDS_COMMANDS_H

#include "base/defs.h"

int command_serve(int argc, char **argv);
int command_operator(int argc, char **argv);
int command_db(int argc, char **argv);
int command_config(int argc, char **argv);
int command_doctor(int argc, char **argv);

#endif
