/* stop.h - Ctrl-C: the first asks the running call to stop, the second ends the program at once.
 * SIGTERM is the same, and so is SIGHUP unless it was ignored from the start (nohup). */
#ifndef EXAMPLES_STOP_H
#define EXAMPLES_STOP_H

#include "unetstar.h"

/* The token must live as long as the program. */
void stop_install(unetstar_cancel *cancel);

#endif
