#define _POSIX_C_SOURCE 200809L
#include "stop.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "problem.h"

/* The one global: a signal handler gets no argument. */
static unetstar_cancel *volatile stop_token;

static void on_signal(int number) {
    (void)number;
    if (unetstar_cancel_requested(stop_token))
        _exit(EXIT_INTERRUPTED);
    unetstar_cancel_request(stop_token);
}

void stop_install(unetstar_cancel *cancel) {
    struct sigaction action, before;
    stop_token = cancel;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* A terminal that is closed; not where nohup has said that it does not matter. */
    if (!sigaction(SIGHUP, NULL, &before) && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    /* A closed pipe or a file-size limit is then an error of write(), which is reported like any other. */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}
