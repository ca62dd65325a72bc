/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "workers.h"

#include "events.h"
#include "inbound.h"
#include "outbound.h"
#include "plain.h"
#include "receiving.h"
#include "routes.h"
#include "tun.h"

#include <errno.h>
#include <poll.h>
#include <processing/jobs/callback_job.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <threading/thread.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORKERS 64
/** Milliseconds before a TUN device that is gone is looked for again. */
#define LOOK_AGAIN 1000

/** So many messages in a millisecond are a load: a reader that is woken for each of them would do little else. */
#define LOAD 100
/** Nanoseconds that a reader then lets messages gather. */
#define GATHER 100000
/** Times that it reads one socket before it looks at others. */
#define ROUNDS 4

typedef struct worker_t {
	size_t number;
	thread_t *out, *in;
	outbound_t *outbound;
	inbound_t *inbound;
	/** Written to when a socket has come, or to end. */
	int changed;
} worker_t;

static worker_t workers[MAX_WORKERS];
static size_t count;
static atomic_bool ending;
/** Readable once workers are to end. */
static int end = -1;
static atomic_bool mending;

/** Somebody has removed the TUN device: it is made again, its addresses are, and its routes as soon as charon knows of it. */
static job_requeue_t mend_tun(void *unused)
{
	if (tun_recreate())
	{
		DBG1(DBG_KNL, "the TUN device %s was removed; it is there again, without addresses that others gave it", tun_name());
		plain_changed();
		routes_reinstall();
	}
	atomic_store(&mending, false);
	return JOB_REQUEUE_NONE;
}

static void *run_outbound(worker_t *this)
{
	struct pollfd ended = {.fd = end, .events = POLLIN};

	while (!atomic_load(&ending))
	{
		/* The number means another device when one that was removed has been made again. */
		struct pollfd ready[] = {{.fd = tun_queue(this->number), .events = POLLIN}, ended};

		int events = poll(ready, countof(ready), LOOK_AGAIN);

		if (!events && !tun_has_its_name())
		{
			complain(COMPLAIN_TUN, "the TUN device %s has another name: nothing comes to it until it has its own again", tun_name());
		}
		if (events > 0 && ready[0].revents && !outbound_run(this->outbound))
		{
			complain(COMPLAIN_TUN, "the TUN device %s is gone: %s", tun_name(), strerror(errno));
			if (!atomic_exchange(&mending, true))
			{
				lib->processor->queue_job(lib->processor, (job_t*)callback_job_create(mend_tun, NULL, NULL, NULL));
			}
			poll(&ended, 1, LOOK_AGAIN);
		}
	}
	return NULL;
}

/** How fast messages come. */
typedef struct pace_t {
	/** Nanoseconds; and messages since then. */
	uint64_t since, messages;
	bool load;
} pace_t;

/** After `messages` were read: under load, a moment passes before the next are, as an interrupt of a network card would wait.
 *  Who sends need not wake anybody then, and segments come together that can be joined. Whether one has passed. */
static bool gather(pace_t *this, size_t messages)
{
	const uint64_t window = 1000000;
	struct timespec now, moment = {.tv_nsec = GATHER};
	uint64_t at, elapsed;

	clock_gettime(CLOCK_MONOTONIC, &now);
	at = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	elapsed = at - this->since;
	this->messages += messages;
	if (elapsed >= window)
	{
		this->load = this->messages >= LOAD * (elapsed / window);
		this->since = at;
		this->messages = 0;
	}
	if (this->load && messages < MESSAGES)
	{
		nanosleep(&moment, NULL);
	}
	return this->load;
}

/** Reads what a socket has; under load again and again. */
static void read_source(worker_t *this, source_t source, pace_t *pace)
{
	for (int round = 0; round < ROUNDS; round++)
	{
		size_t messages = inbound_run(this->inbound, source);

		if (!messages && !round)
		{
			/* An error that waits would be reported for ever. */
			inbound_clear(this->inbound, source);
		}
		if (!messages || !gather(pace, messages))
		{
			break;
		}
	}
}

/** Reads what has come; whether a socket was added. */
static bool read_ready(worker_t *this, struct pollfd *ready, pace_t *pace)
{
	uint64_t times;

	for (int source = 0; source < SOURCES; source++)
	{
		if (ready[source].revents)
		{
			read_source(this, (source_t)source, pace);
		}
	}
	return ready[SOURCES].revents && read(this->changed, &times, sizeof(times)) == sizeof(times);
}

/** Nothing of epoll(7): its descriptor is told of each message, also while nobody waits for any. */
static void *run_inbound(worker_t *this)
{
	struct pollfd sources[SOURCES + 1] = {[SOURCES] = {.fd = this->changed, .events = POLLIN}};
	pace_t pace = {0};

	/* Else a moment is half as long again. */
	prctl(PR_SET_TIMERSLACK, 1000);
	while (!atomic_load(&ending))
	{
		for (int source = 0; source < SOURCES; source++)
		{
			sources[source] = (struct pollfd){.fd = sockets_source(this->number, source), .events = POLLIN};
		}
		while (!atomic_load(&ending) && (poll(sources, countof(sources), -1) <= 0 || !read_ready(this, sources, &pace)));
	}
	return NULL;
}

static void wake_all(void)
{
	uint64_t once = 1;

	for (size_t i = 0; i < count; i++)
	{
		ignore_result(write(workers[i].changed, &once, sizeof(once)));
	}
}

bool workers_create(size_t number, unsigned mtu)
{
	count = min(number, MAX_WORKERS);
	atomic_store(&ending, false);
	end = eventfd(0, EFD_CLOEXEC);
	if (end < 0)
	{
		DBG1(DBG_KNL, "no event descriptor: %s", strerror(errno));
		return FALSE;
	}
	for (size_t i = 0; i < count; i++)
	{
		worker_t *this = &workers[i];

		*this = (worker_t){
			.number = i,
			.outbound = outbound_create(i, mtu),
			.inbound = inbound_create(i),
			.changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		};
		if (this->changed >= 0)
		{
			this->out = thread_create((thread_main_t)run_outbound, this);
			this->in = thread_create((thread_main_t)run_inbound, this);
		}
		if (!this->out || !this->in)
		{
			DBG1(DBG_KNL, "no threads for packets");
			count = i + 1;
			workers_destroy();
			return FALSE;
		}
	}
	sockets_on_change(wake_all);
	return TRUE;
}

void workers_destroy(void)
{
	uint64_t once = 1;

	sockets_on_change(NULL);
	atomic_store(&ending, true);
	if (end < 0)
	{
		return;
	}
	ignore_result(write(end, &once, sizeof(once)));
	wake_all();
	for (size_t i = 0; i < count; i++)
	{
		worker_t *this = &workers[i];

		if (this->out)
		{
			this->out->join(this->out);
		}
		if (this->in)
		{
			this->in->join(this->in);
		}
		outbound_destroy(this->outbound);
		inbound_destroy(this->inbound);
		close(this->changed);
	}
	close(end);
	end = -1;
	count = 0;
}
