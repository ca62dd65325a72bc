/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sad_tables.h"


/** What charon has reserved and not used is bounded. */
#define MOST_RESERVED 65536
/** CPIs below are well known or for IANA (RFC 3173). */
#define CPI_MIN 0x100
#define CPI_MAX 0xefff

rwlock_t *sad_lock;
hashtable_t *sad_inbound, *sad_outbound;
/** SPIs, in the order of nothing: of inbound SAs to come. */
static hashtable_t *reserved;
static uint16_t next_cpi;
static _Atomic uint64_t last_id;

static u_int hash_sa(const sa_t *sa)
{
	return (ntohl(sa->spi) ^ sa->protocol) * 0x9e3779b1u >> 7;
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
	return ntohl((u_int)(uintptr_t)spi) * 0x9e3779b1u >> 7;
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
	sad_lock = rwlock_create(RWLOCK_TYPE_DEFAULT);
	sad_inbound = hashtable_create((hashtable_hash_t)hash_sa, (hashtable_equals_t)same_inbound, 64);
	sad_outbound = hashtable_create((hashtable_hash_t)hash_sa, (hashtable_equals_t)same_outbound, 64);
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
	sad_lock->write_lock(sad_lock);
	flush_table(sad_inbound);
	flush_table(sad_outbound);
	sad_lock->unlock(sad_lock);
}

void sad_destroy(void)
{
	sad_flush();
	sad_inbound->destroy(sad_inbound);
	sad_outbound->destroy(sad_outbound);
	reserved->destroy(reserved);
	sad_lock->destroy(sad_lock);
}

/** Under the lock. */
static sa_t *find_inbound(uint32_t spi, uint8_t protocol)
{
	sa_t key = {.spi = spi, .protocol = protocol};

	return sad_inbound->get(sad_inbound, &key);
}

static sa_t *find_outbound(uint32_t spi, uint8_t protocol, host_t *dst)
{
	sa_t key = {.spi = spi, .protocol = protocol, .dst = dst};

	return sad_outbound->get(sad_outbound, &key);
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
	sad_lock->write_lock(sad_lock);
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
	sad_lock->unlock(sad_lock);
	rng->destroy(rng);
	return status;
}

/** Under the lock. */
static bool has_cpi(uint16_t cpi)
{
	enumerator_t *enumerator = sad_inbound->create_enumerator(sad_inbound);
	bool found = FALSE;
	sa_t *sa;

	while (!found && enumerator->enumerate(enumerator, NULL, &sa))
	{
		found = sa->compresses && sa->cpi == cpi;
	}
	enumerator->destroy(enumerator);
	return found;
}

status_t sad_reserve_cpi(uint16_t *cpi)
{
	status_t status = FAILED;

	sad_lock->write_lock(sad_lock);
	for (int i = CPI_MIN; i <= CPI_MAX && status != SUCCESS; i++)
	{
		*cpi = htons(next_cpi);
		next_cpi = next_cpi == CPI_MAX ? CPI_MIN : next_cpi + 1;
		status = has_cpi(*cpi) ? FAILED : SUCCESS;
	}
	sad_lock->unlock(sad_lock);
	return status;
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
	atomic_store(&this->inner_mtu, 0);
	atomic_store(&this->mapping_told, 0);
}

status_t sad_add(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	lifetime_cfg_t *lifetime = data->lifetime;
	hashtable_t *table = data->inbound ? sad_inbound : sad_outbound;
	accel_sa_t accel;
	status_t status;
	bool is_new;
	sa_t *sa;

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
		.id = atomic_fetch_add(&last_id, 1) + 1,
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
	sad_lock->write_lock(sad_lock);
	if (data->inbound)
	{
		reserved->remove(reserved, spi_key(id->spi));
	}
	/* Packets for one SA never get into another one. */
	is_new = !table->get(table, sa);
	if (is_new)
	{
		table->put(table, sa, sa);
	}
	sad_lock->unlock(sad_lock);
	if (!is_new)
	{
		DBG1(DBG_KNL, "there is an SA %.8x to %H already", ntohl(id->spi), id->dst);
		discard(sa);
		return FAILED;
	}
	if (lifetime)
	{
		sad_schedule(sa, lifetime->time.rekey, FALSE);
		sad_schedule(sa, lifetime->time.life, TRUE);
	}
	return SUCCESS;
}

status_t sad_update(kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data)
{
	status_t status = NOT_FOUND;
	sa_t *sa;

	sad_lock->write_lock(sad_lock);
	sa = find(id);
	if (sa)
	{
		sa_t *other = sa->inbound ? NULL : find_outbound(sa->spi, sa->protocol, data->new_dst);

		/* charon negotiates another one when this one cannot be moved. */
		status = SUCCESS;
		if ((other && other != sa) ||
			((!sa->transport || sa->compresses) &&
			 accel_move(&sa->accel, sa->inbound, data->new_src, data->new_dst) != SUCCESS))
		{
			status = NOT_SUPPORTED;
		}
		if (status == SUCCESS)
		{
			/* An outbound one is found by its destination. */
			hashtable_t *table = sa->inbound ? sad_inbound : sad_outbound;

			table->remove(table, sa);
			set_path(sa, data->new_src, data->new_dst, data->new_encap);
			if (data->new_reqid)
			{
				sa->reqid = data->new_reqid;
			}
			table->put(table, sa, sa);
		}
	}
	sad_lock->unlock(sad_lock);
	return status;
}

status_t sad_query(kernel_ipsec_sa_id_t *id, uint64_t *bytes, uint64_t *packets, time_t *used)
{
	status_t status = NOT_FOUND;
	sa_t *sa;

	sad_lock->read_lock(sad_lock);
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
	sad_lock->unlock(sad_lock);
	return status;
}

status_t sad_delete(kernel_ipsec_sa_id_t *id, uint16_t cpi)
{
	status_t status = NOT_FOUND;
	sa_t *sa;

	sad_lock->write_lock(sad_lock);
	sa = find(id);
	if (sa)
	{
		hashtable_t *table = sa->inbound ? sad_inbound : sad_outbound;

		table->remove(table, sa);
		status = SUCCESS;
	}
	else if (reserved->remove(reserved, spi_key(id->spi)))
	{
		status = SUCCESS;
	}
	sad_lock->unlock(sad_lock);
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

	sad_lock->read_lock(sad_lock);
	found = use_it(find_inbound(spi, protocol), use);
	sad_lock->unlock(sad_lock);
	return found;
}

bool sad_use_outbound(uint32_t spi, uint8_t protocol, host_t *dst, uint32_t reqid, sa_use_t *use)
{
	bool found;
	sa_t *sa;

	sad_lock->read_lock(sad_lock);
	sa = find_outbound(spi, protocol, dst);
	/* The peer has chosen the SPI: two of them behind one address may have chosen the same. */
	found = sa && sa->reqid == reqid && use_it(sa, use);
	sad_lock->unlock(sad_lock);
	return found;
}

void sad_done(sa_use_t *use)
{
	release(use->sa);
}
