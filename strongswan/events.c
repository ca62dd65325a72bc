/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "events.h"

#include <processing/jobs/callback_job.h>
#include <stdarg.h>
#include <stdatomic.h>

/** Seconds between two sentences of a kind. */
#define QUIET 60

void complain(complaint_t kind, const char *format, ...)
{
	static _Atomic int64_t next[COMPLAINTS];
	static _Atomic unsigned held_back[COMPLAINTS];
	int64_t now = time_monotonic(NULL), due = atomic_load_explicit(&next[kind], memory_order_relaxed);
	char sentence[256];
	unsigned before;
	va_list args;

	if (now < due || !atomic_compare_exchange_strong(&next[kind], &due, now + QUIET))
	{
		atomic_fetch_add_explicit(&held_back[kind], 1, memory_order_relaxed);
		return;
	}
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	before = atomic_exchange(&held_back[kind], 0);
	if (before)
	{
		DBG1(DBG_ESP, "%s (and %u times since this was last logged)", sentence, before);
	}
	else
	{
		DBG1(DBG_ESP, "%s", sentence);
	}
}

typedef struct event_t {
	enum { EXPIRE, MAPPING, ACQUIRE } kind;
	uint8_t protocol;
	uint32_t spi, reqid;
	bool hard;
	host_t *dst, *remote;
	traffic_selector_t *src_ts, *dst_ts;
} event_t;

static void event_destroy(event_t *this)
{
	DESTROY_IF(this->dst);
	DESTROY_IF(this->remote);
	DESTROY_IF(this->src_ts);
	DESTROY_IF(this->dst_ts);
	free(this);
}

static job_requeue_t raise_event(event_t *this)
{
	kernel_acquire_data_t acquire = {.src = this->src_ts, .dst = this->dst_ts GIPSEC_ANY_PROCESSOR};

	switch (this->kind)
	{
		case EXPIRE:
			charon->kernel->expire(charon->kernel, this->protocol, this->spi, this->dst, this->hard);
			break;
		case MAPPING:
			charon->kernel->mapping(charon->kernel, this->protocol, this->spi, this->dst, this->remote);
			break;
		case ACQUIRE:
			charon->kernel->acquire(charon->kernel, this->reqid, &acquire);
			break;
	}
	return JOB_REQUEUE_NONE;
}

static void queue(event_t event)
{
	event_t *this = malloc_thing(event_t);

	*this = event;
	lib->processor->queue_job(lib->processor, (job_t*)callback_job_create((callback_job_cb_t)raise_event, this,
							  (callback_job_cleanup_t)event_destroy, NULL));
}

void event_expire(uint8_t protocol, uint32_t spi, host_t *dst, bool hard)
{
	queue((event_t){.kind = EXPIRE, .protocol = protocol, .spi = spi, .dst = dst->clone(dst), .hard = hard});
}

void event_mapping(uint8_t protocol, uint32_t spi, host_t *dst, host_t *remote)
{
	queue((event_t){.kind = MAPPING, .protocol = protocol, .spi = spi, .dst = dst->clone(dst),
					.remote = remote->clone(remote)});
}

void event_acquire(uint32_t reqid, traffic_selector_t *src, traffic_selector_t *dst)
{
	queue((event_t){.kind = ACQUIRE, .reqid = reqid, .src_ts = src, .dst_ts = dst});
}
