/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sad.h"

#include "events.h"

#include <collections/hashtable.h>
#include <processing/jobs/callback_job.h>
#include <threading/rwlock.h>

/** What charon has reserved and not used is bounded. */
#define MOST_RESERVED 65536
/** CPIs below are well known or for IANA (RFC 3173). */
#define CPI_MIN 0x100
#define CPI_MAX 0xefff

static rwlock_t *lock;
/** By SPI and protocol, and of outbound ones the destination. */
static hashtable_t *inbound, *outbound;
/** SPIs, in the order of nothing: of inbound SAs to come. */
static hashtable_t *reserved;
static uint16_t next_cpi;

static u_int hash_sa(const sa_t *sa)
{
	return sa->spi ^ sa->protocol;
}

static bool same_inbound(const sa_t *a, const sa_t *b)
{
	return a->spi == b->spi && a->protocol == b->protocol;
}

static bool same_outbound(const sa_t *a, const sa_t *b)
{
	return same_inbound(a, b) && a->dst->ip_equals(a->dst, b->dst);
}

static u_int hash_spi(const void *spi)
{
	return (u_int)(uintptr_t)spi;
}

static bool same_spi(const void *a, const void *b)
{
	return a == b;
}

static void *spi_key(uint32_t spi)
{
	return (void*)(uintptr_t)spi;
}

bool sad_create(void)
{
	lock = rwlock_create(RWLOCK_TYPE_DEFAULT);
	inbound = hashtable_create((hashtable_hash_t)hash_sa, (hashtable_equals_t)same_inbound, 64);
	outbound = hashtable_create((hashtable_hash_t)hash_sa, (hashtable_equals_t)same_outbound, 64);
	reserved = hashtable_create(hash_spi, same_spi, 64);
	next_cpi = (uint16_t)(CPI_MIN + random() % (CPI_MAX - CPI_MIN));
	return TRUE;
}

static void release(sa_t *this)
{
	if (atomic_fetch_sub(&this->refs, 1) == 1)
	{
		this->src->destroy(this->src);
		this->dst->destroy(this->dst);
		free(this);
	}
}

/** Takes an SA out of the accelerator; packets that are in it are finished. */
static void discard(sa_t *this)
{
	accel_delete(&this->accel, this->inbound);
	release(this);
}

static void flush_table(hashtable_t *table)
{
	enumerator_t *enumerator = table->create_enumerator(table);
	sa_t *sa;

	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		table->remove_at(table, enumerator);
		discard(sa);
	}
	enumerator->destroy(enumerator);
}

void sad_flush(void)
{
	lock->write_lock(lock);
	flush_table(inbound);
	flush_table(outbound);
	lock->unlock(lock);
}

void sad_destroy(void)
{
	sad_flush();
	inbound->destroy(inbound);
	outbound->destroy(outbound);
	reserved->destroy(reserved);
	lock->destroy(lock);
}

/** Under the lock. */
static sa_t *find_inbound(uint32_t spi, uint8_t protocol)
{
	sa_t key = {.spi = spi, .protocol = protocol};

	return inbound->get(inbound, &key);
}

static sa_t *find_outbound(uint32_t spi, uint8_t protocol, host_t *dst)
{
	sa_t key = {.spi = spi, .protocol = protocol, .dst = dst};

	return outbound->get(outbound, &key);
}

/** An SA of charon's: inbound ones are found by their SPI, which is ours. */
static sa_t *find(kernel_ipsec_sa_id_t *id)
{
	sa_t *sa = find_outbound(id->spi, id->proto, id->dst);

	if (sa && sa->src->ip_equals(sa->src, id->src))
	{
		return sa;
	}
	sa = find_inbound(id->spi, id->proto);
	return sa && sa->dst->ip_equals(sa->dst, id->dst) ? sa : NULL;
}

status_t sad_reserve(uint8_t protocol, uint32_t *spi)
{
	status_t status = FAILED;
	rng_t *rng = lib->crypto->create_rng(lib->crypto, RNG_WEAK);

	if (!rng)
	{
		DBG1(DBG_KNL, "no random numbers for SPIs");
		return FAILED;
	}
	lock->write_lock(lock);
	for (int i = 0; i < 100 && reserved->get_count(reserved) < MOST_RESERVED; i++)
	{
		uint32_t drawn;

		if (!rng->get_bytes(rng, sizeof(drawn), (uint8_t*)&drawn))
		{
			break;
		}
		drawn = htonl(KERNEL_SPI_MIN + drawn % (KERNEL_SPI_MAX - KERNEL_SPI_MIN));
		if (!reserved->get(reserved, spi_key(drawn)) && !find_inbound(drawn, IPPROTO_ESP) &&
			!find_inbound(drawn, IPPROTO_AH))
		{
			reserved->put(reserved, spi_key(drawn), spi_key(drawn));
			*spi = drawn;
			status = SUCCESS;
			break;
		}
	}
	lock->unlock(lock);
	rng->destroy(rng);
	return status;
}

status_t sad_reserve_cpi(uint16_t *cpi)
{
	lock->write_lock(lock);
	*cpi = htons(next_cpi);
	next_cpi = next_cpi == CPI_MAX ? CPI_MIN : next_cpi + 1;
	lock->unlock(lock);
	return SUCCESS;
}

/** Under the lock. */
static void set_path(sa_t *this, host_t *src, host_t *dst, bool udp)
{
	socklen_t *length;

	DESTROY_IF(this->src);
	DESTROY_IF(this->dst);
	this->src = src->clone(src);
	this->dst = dst->clone(dst);
	memset(&this->path, 0, sizeof(this->path));
	length = src->get_sockaddr_len(src);
	memcpy(&this->path.src, src->get_sockaddr(src), *length);
	length = dst->get_sockaddr_len(dst);
	memcpy(&this->path.dst, dst->get_sockaddr(dst), *length);
	this->path.udp = udp;
	/* Another path may take more, or less. */
	atomic_store(&this->outer_mtu, 0);
	atomic_store(&this->inner_mtu, 0);
	atomic_store(&this->mapping_told, false);
}

typedef struct expiry_t {
	uint32_t spi;
	uint8_t protocol;
	bool is_inbound, hard;
	host_t *dst;
	/** Told from one that has its SPI later. */
	const sa_t *sa;
} expiry_t;

static void expiry_destroy(expiry_t *this)
{
	this->dst->destroy(this->dst);
	free(this);
}

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
	sa_t *sa;

	lock->read_lock(lock);
	sa = this->is_inbound ? find_inbound(this->spi, this->protocol)
						  : find_outbound(this->spi, this->protocol, this->dst);
	if (sa && sa == this->sa)
	{
		tell(sa, this->hard);
	}
	lock->unlock(lock);
	return JOB_REQUEUE_NONE;
}

static void schedule(sa_t *sa, uint64_t seconds, bool hard)
{
	expiry_t *expiry;

	if (!seconds)
	{
		return;
	}
	INIT(expiry,
		.spi = sa->spi,
		.protocol = sa->protocol,
		.is_inbound = sa->inbound,
		.hard = hard,
		.dst = sa->dst->clone(sa->dst),
		.sa = sa,
	);
	lib->scheduler->schedule_job(lib->scheduler, (job_t*)callback_job_create((callback_job_cb_t)expire, expiry,
								 (callback_job_cleanup_t)expiry_destroy, (callback_job_cancel_t)return_false),
								 (uint32_t)min(seconds, UINT32_MAX));
}

status_t sad_add(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	lifetime_cfg_t *lifetime = data->lifetime;
	hashtable_t *table = data->inbound ? inbound : outbound;
	accel_sa_t accel;
	status_t status;
	sa_t *sa, *old;

	if (data->mode != MODE_TRANSPORT && data->mode != MODE_TUNNEL)
	{
		DBG1(DBG_KNL, "mode %N is not supported by kernel-gipsec", ipsec_mode_names, data->mode);
		return NOT_SUPPORTED;
	}
	if (data->encap && id->proto != IPPROTO_ESP)
	{
		DBG1(DBG_KNL, "AH does not go through a NAT");
		return NOT_SUPPORTED;
	}
	status = accel_add(id, data, &accel);
	if (status != SUCCESS)
	{
		return status;
	}
	INIT(sa,
		.spi = id->spi,
		.cpi = data->cpi,
		.protocol = id->proto,
		.inbound = data->inbound,
		.esn = data->esn,
		.copy_dscp_in = data->copy_dscp == DSCP_COPY_IN_ONLY || data->copy_dscp == DSCP_COPY_YES,
		.transport = data->mode == MODE_TRANSPORT,
		.compresses = data->ipcomp != IPCOMP_NONE,
		.reqid = data->reqid,
		.accel = accel,
	);
	atomic_init(&sa->refs, 1);
	if (lifetime)
	{
		sa->soft_bytes = lifetime->bytes.rekey;
		sa->hard_bytes = lifetime->bytes.life;
		sa->soft_packets = lifetime->packets.rekey;
		sa->hard_packets = lifetime->packets.life;
	}
	set_path(sa, id->src, id->dst, data->encap);
	lock->write_lock(lock);
	if (data->inbound)
	{
		reserved->remove(reserved, spi_key(id->spi));
	}
	old = table->put(table, sa, sa);
	lock->unlock(lock);
	if (old)
	{
		discard(old);
	}
	if (lifetime)
	{
		schedule(sa, lifetime->time.rekey, FALSE);
		schedule(sa, lifetime->time.life, TRUE);
	}
	return SUCCESS;
}

status_t sad_update(kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data)
{
	status_t status = NOT_FOUND;
	sa_t *sa;

	lock->write_lock(lock);
	sa = find(id);
	if (sa)
	{
		status = SUCCESS;
		if (!sa->transport || sa->compresses)
		{
			status = accel_move(&sa->accel, sa->inbound, data->new_src, data->new_dst);
		}
		if (status == SUCCESS)
		{
			/* An outbound one is found by its destination. */
			hashtable_t *table = sa->inbound ? inbound : outbound;

			table->remove(table, sa);
			set_path(sa, data->new_src, data->new_dst, data->new_encap);
			if (data->new_reqid)
			{
				sa->reqid = data->new_reqid;
			}
			table->put(table, sa, sa);
		}
	}
	lock->unlock(lock);
	return status;
}

status_t sad_query(kernel_ipsec_sa_id_t *id, uint64_t *bytes, uint64_t *packets, time_t *used)
{
	status_t status = NOT_FOUND;
	sa_t *sa;

	lock->read_lock(lock);
	sa = find(id);
	if (sa)
	{
		if (bytes)
		{
			*bytes = atomic_load_explicit(&sa->bytes, memory_order_relaxed);
		}
		if (packets)
		{
			*packets = atomic_load_explicit(&sa->packets, memory_order_relaxed);
		}
		if (used)
		{
			*used = atomic_load_explicit(&sa->used, memory_order_relaxed);
		}
		status = SUCCESS;
	}
	lock->unlock(lock);
	return status;
}

status_t sad_delete(kernel_ipsec_sa_id_t *id, uint16_t cpi)
{
	status_t status = NOT_FOUND;
	sa_t *sa;

	lock->write_lock(lock);
	sa = find(id);
	if (sa)
	{
		hashtable_t *table = sa->inbound ? inbound : outbound;

		table->remove(table, sa);
		status = SUCCESS;
	}
	else if (reserved->remove(reserved, spi_key(id->spi)))
	{
		status = SUCCESS;
	}
	lock->unlock(lock);
	if (sa)
	{
		discard(sa);
	}
	return status;
}

/** Under the lock. */
static bool use_it(sa_t *sa, sa_use_t *use)
{
	if (!sa || atomic_load_explicit(&sa->hard_told, memory_order_relaxed))
	{
		return false;
	}
	atomic_fetch_add_explicit(&sa->refs, 1, memory_order_relaxed);
	*use = (sa_use_t){.sa = sa, .path = sa->path, .accel = sa->accel, .reqid = sa->reqid};
	return true;
}

bool sad_use_inbound(uint32_t spi, uint8_t protocol, sa_use_t *use)
{
	bool found;

	lock->read_lock(lock);
	found = use_it(find_inbound(spi, protocol), use);
	lock->unlock(lock);
	return found;
}

bool sad_use_outbound(uint32_t spi, uint8_t protocol, host_t *dst, sa_use_t *use)
{
	bool found;

	lock->read_lock(lock);
	found = use_it(find_outbound(spi, protocol, dst), use);
	lock->unlock(lock);
	return found;
}

void sad_done(sa_use_t *use)
{
	release(use->sa);
}

bool sad_count(sa_use_t *use, uint64_t packets, uint64_t bytes)
{
	sa_t *sa = use->sa;

	packets += atomic_fetch_add_explicit(&sa->packets, packets, memory_order_relaxed);
	bytes += atomic_fetch_add_explicit(&sa->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&sa->used, time_monotonic(NULL), memory_order_relaxed);
	if ((sa->hard_bytes && bytes >= sa->hard_bytes) || (sa->hard_packets && packets >= sa->hard_packets))
	{
		lock->read_lock(lock);
		tell(sa, TRUE);
		lock->unlock(lock);
		return false;
	}
	if ((sa->soft_bytes && bytes >= sa->soft_bytes) || (sa->soft_packets && packets >= sa->soft_packets))
	{
		lock->read_lock(lock);
		tell(sa, FALSE);
		lock->unlock(lock);
	}
	return true;
}

void sad_moved(sa_use_t *use, const struct sockaddr_storage *from)
{
	sa_t *sa = use->sa;
	host_t *remote;

	if (atomic_exchange(&sa->mapping_told, true))
	{
		return;
	}
	remote = host_create_from_sockaddr((sockaddr_t*)from);
	if (remote)
	{
		lock->read_lock(lock);
		event_mapping(sa->protocol, sa->spi, sa->dst, remote);
		lock->unlock(lock);
		remote->destroy(remote);
	}
}

void sad_set_mtu(sa_use_t *use, uint32_t outer)
{
	sa_t *sa = use->sa;
	uint32_t inner = accel_inner_mtu(&use->accel, outer - (use->path.udp ? 8 : 0));

	if (inner && atomic_exchange(&sa->outer_mtu, outer) != outer)
	{
		atomic_store(&sa->inner_mtu, inner);
		DBG1(DBG_KNL, "the path of SA %.8x takes %u bytes: packets of up to %u go in", ntohl(sa->spi), outer, inner);
	}
}

static void replace_in(hashtable_t *table)
{
	enumerator_t *enumerator = table->create_enumerator(table);
	sa_t *sa;

	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		tell(sa, FALSE);
	}
	enumerator->destroy(enumerator);
}

void sad_replace_all(void)
{
	lock->read_lock(lock);
	/* One side of each CHILD_SA is enough to have it rekeyed. */
	replace_in(inbound);
	lock->unlock(lock);
}

void sad_worn_out(const g_ipsec_la_sa_handle *handle)
{
	enumerator_t *enumerator;
	sa_t *sa;

	lock->read_lock(lock);
	enumerator = outbound->create_enumerator(outbound);
	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		if (memeq(&sa->accel.sa, handle, sizeof(*handle)))
		{
			tell(sa, FALSE);
		}
	}
	enumerator->destroy(enumerator);
	lock->unlock(lock);
}
