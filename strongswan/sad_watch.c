/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What happens to SAs: their lifetimes, their peers that move, their paths, and what charon is told of it.
 */
#include "sad_tables.h"

#include "events.h"

#include <processing/jobs/callback_job.h>

/** Seconds before charon is told again that a peer has another address. */
#define MAPPING_AGAIN 3
/** Seconds for which the MTU of a path is believed (RFC 1191 section 6.3). */
#define MTU_LASTS 600

typedef struct expiry_t {
	bool is_inbound, hard;
	/** Told from one that has its SPI later. */
	uint64_t id;
} expiry_t;

/** Under the lock, at least for reading. */
static void tell(sa_t *sa, bool hard)
{
	_Atomic bool *told = hard ? &sa->hard_told : &sa->soft_told;

	if (!atomic_exchange(told, true))
	{
		event_expire(sa->protocol, sa->spi, sa->dst, hard);
	}
}

static job_requeue_t expire(expiry_t *this)
{
	hashtable_t *table = this->is_inbound ? sad_inbound : sad_outbound;
	enumerator_t *enumerator;
	sa_t *sa;

	/* It may have moved. */
	sad_lock->read_lock(sad_lock);
	enumerator = table->create_enumerator(table);
	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		if (sa->id == this->id)
		{
			tell(sa, this->hard);
		}
	}
	enumerator->destroy(enumerator);
	sad_lock->unlock(sad_lock);
	return JOB_REQUEUE_NONE;
}

void sad_schedule(sa_t *sa, uint64_t seconds, bool hard)
{
	expiry_t *expiry;

	if (!seconds)
	{
		return;
	}
	INIT(expiry,
		.is_inbound = sa->inbound,
		.hard = hard,
		.id = sa->id,
	);
	lib->scheduler->schedule_job(lib->scheduler, (job_t*)callback_job_create((callback_job_cb_t)expire, expiry, free,
								 NULL), (uint32_t)min(seconds, UINT32_MAX));
}

void sad_count(sa_use_t *use, uint64_t packets, uint64_t bytes)
{
	sa_t *sa = use->sa;
	int64_t now;

	packets += atomic_fetch_add_explicit(&sa->packets, packets, memory_order_relaxed);
	bytes += atomic_fetch_add_explicit(&sa->bytes, bytes, memory_order_relaxed);
	now = time_monotonic(NULL);
	atomic_store_explicit(&sa->used, now, memory_order_relaxed);
	if (atomic_load_explicit(&sa->inner_mtu, memory_order_relaxed) && now > atomic_load(&sa->mtu_until))
	{
		atomic_store(&sa->inner_mtu, 0);
		atomic_store(&sa->outer_mtu, 0);
	}
	if ((sa->hard_bytes && bytes >= sa->hard_bytes) || (sa->hard_packets && packets >= sa->hard_packets))
	{
		sad_lock->read_lock(sad_lock);
		tell(sa, TRUE);
		sad_lock->unlock(sad_lock);
	}
	else if ((sa->soft_bytes && bytes >= sa->soft_bytes) || (sa->soft_packets && packets >= sa->soft_packets))
	{
		sad_lock->read_lock(sad_lock);
		tell(sa, FALSE);
		sad_lock->unlock(sad_lock);
	}
}

bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
	{
		return false;
	}
	if (a->ss_family == AF_INET)
	{
		const struct sockaddr_in *x = (const struct sockaddr_in*)a, *y = (const struct sockaddr_in*)b;

		return x->sin_addr.s_addr == y->sin_addr.s_addr && x->sin_port == y->sin_port;
	}
	else
	{
		const struct sockaddr_in6 *x = (const struct sockaddr_in6*)a, *y = (const struct sockaddr_in6*)b;

		return memeq(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) && x->sin6_port == y->sin6_port;
	}
}

void sad_moved(sa_use_t *use, const struct sockaddr_storage *from)
{
	sa_t *sa = use->sa;
	int64_t now = time_monotonic(NULL), told = atomic_load(&sa->mapping_told);
	host_t *remote;

	/* charon may not have believed it, or there was a race: it is told again. */
	if ((told && now - told < MAPPING_AGAIN) || !atomic_compare_exchange_strong(&sa->mapping_told, &told, now))
	{
		return;
	}
	remote = host_create_from_sockaddr((sockaddr_t*)from);
	if (remote)
	{
		sad_lock->read_lock(sad_lock);
		if (!same_address(&sa->path.src, from))
		{
			event_mapping(sa->protocol, sa->spi, sa->dst, remote);
		}
		sad_lock->unlock(sad_lock);
		remote->destroy(remote);
	}
}

/** Whether the address alone is the same. */
static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	struct sockaddr_storage x = *a, y = *b;

	((struct sockaddr_in*)&x)->sin_port = ((struct sockaddr_in*)&y)->sin_port = 0;
	return same_address(&x, &y);
}

void sad_path_mtu(const struct sockaddr_storage *dst, uint32_t mtu, const uint32_t *spi)
{
	enumerator_t *enumerator;
	sa_t *sa;

	/* No path takes less (RFC 791, RFC 8200). */
	mtu = max(mtu, dst->ss_family == AF_INET ? 576 : 1280);
	sad_lock->read_lock(sad_lock);
	enumerator = sad_outbound->create_enumerator(sad_outbound);
	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		uint32_t inner;

		if (!same_host(&sa->path.dst, dst) || (spi && *spi != sa->spi))
		{
			continue;
		}
		inner = accel_inner_mtu(&sa->accel, mtu - (sa->path.udp ? 8 : 0));
		atomic_store(&sa->mtu_until, time_monotonic(NULL) + MTU_LASTS);
		atomic_store(&sa->outer_mtu, mtu);
		if (inner && atomic_exchange(&sa->inner_mtu, inner) != inner)
		{
			DBG2(DBG_KNL, "the path of SA %.8x takes %u bytes: packets of up to %u go in", ntohl(sa->spi), mtu, inner);
		}
	}
	enumerator->destroy(enumerator);
	sad_lock->unlock(sad_lock);
}

static void replace_in(hashtable_t *table)
{
	enumerator_t *enumerator = table->create_enumerator(table);
	sa_t *sa;

	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		/* Also those that charon was to replace before, and could not. */
		atomic_store(&sa->soft_told, false);
		tell(sa, FALSE);
	}
	enumerator->destroy(enumerator);
}

void sad_replace_all(void)
{
	sad_lock->read_lock(sad_lock);
	/* One side of each CHILD_SA is enough to have it rekeyed. */
	replace_in(sad_inbound);
	sad_lock->unlock(sad_lock);
}

void sad_worn_out(const g_ipsec_la_sa_handle *handle)
{
	enumerator_t *enumerator;
	sa_t *sa;

	sad_lock->read_lock(sad_lock);
	enumerator = sad_outbound->create_enumerator(sad_outbound);
	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		if (memeq(&sa->accel.sa, handle, sizeof(*handle)))
		{
			tell(sa, FALSE);
		}
	}
	enumerator->destroy(enumerator);
	sad_lock->unlock(sad_lock);
}
