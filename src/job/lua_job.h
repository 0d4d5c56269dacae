/* lua_job.h: the native half of what jobs use. */
#ifndef GYRE_JOB_LUA_JOB_H
#define GYRE_JOB_LUA_JOB_H

#include "host/host.h"

/* Makes require "gyre.html" and "gyre.terminal" work. Returns 0 or GYRE_ESYSTEM. */
int gyre__job_open(struct gyre_host *host);

#endif
