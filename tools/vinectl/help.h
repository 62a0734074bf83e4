/*
 * help.h - the commands of vinectl as a table, and what is said of them.
 */
#ifndef GV_VINECTL_HELP_H
#define GV_VINECTL_HELP_H

#include "vinectl.h"

#include <stdio.h>

struct command {
    const char *name;
    const char *arguments;
    const char *what; /* in half a line */
    const char *more; /* what --help of the command says besides */
    bool takes_words; /* behind its name */
    command_fn run;
};

/** The command of that name, or NULL. */
const struct command *command_of(const char *name);

/** All commands and flags. */
void help_all(FILE *out);

/** One command. */
void help_command(FILE *out, const struct command *command);

#endif
