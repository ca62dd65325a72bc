/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sad_tables.h"


rwlock_t *sad_lock;
hashtable_t *sad_inbound, *sad_outbound;
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

bool sad_create(void)
{
	sad_lock = rwlock_create(RWLOCK_TYPE_DEFAULT);
	sad_inbound = hashtable_create((hashtable_hash_t)hash_sa, (hashtable_equals_t)same_inbound, 64);
	sad_outbound = hashtable_create((hashtable_hash_t)hash_sa, (hashtable_equals_t)same_outbound, 64);
	sad_numbers_create();
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

/** Under the lock: moves all SAs of a table to a list. */
static void empty(hashtable_t *table, linked_list_t *all)
{
	enumerator_t *enumerator = table->create_enumerator(table);
	sa_t *sa;

	while (enumerator->enumerate(enumerator, NULL, &sa))
	{
		table->remove_at(table, enumerator);
		all->insert_last(all, sa);
	}
	enumerator->destroy(enumerator);
}

void sad_flush(void)
{
	linked_list_t *all = linked_list_create();

	sad_lock->write_lock(sad_lock);
	empty(sad_inbound, all);
	empty(sad_outbound, all);
	sad_lock->unlock(sad_lock);
	all->destroy_function(all, (void*)discard);
}

void sad_destroy(void)
{
	sad_flush();
	sad_inbound->destroy(sad_inbound);
	sad_outbound->destroy(sad_outbound);
	sad_numbers_destroy();
	sad_lock->destroy(sad_lock);
}

/** Under the lock. */
sa_t *sad_find_inbound(uint32_t spi, uint8_t protocol)
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
	sa = sad_find_inbound(id->spi, id->proto);
	return sa && sa->dst->ip_equals(sa->dst, id->dst) ? sa : NULL;
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
	atomic_store(&this->outer_mtu, 0);
	atomic_store(&this->mapping_told, 0);
}

status_t sad_add(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	lifetime_cfg_t *lifetime = data->lifetime;
	hashtable_t *table = data->inbound ? sad_inbound : sad_outbound;
	accel_sa_t accel;
	status_t status;
	uint64_t number;
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
	number = atomic_fetch_add(&last_id, 1) + 1;
	INIT(sa,
		.id = number,
		.spi = id->spi,
		.cpi = data->cpi,
		.protocol = id->proto,
		.inbound = data->inbound,
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
		sad_release(id->spi);
	}
	/* Packets for one SA never get into another one. */
	is_new = !table->get(table, sa);
	if (is_new)
	{
		table->put(table, sa, sa);
		if (lifetime)
		{
			sad_schedule(sa, lifetime->time.rekey, FALSE);
			sad_schedule(sa, lifetime->time.life, TRUE);
		}
	}
	sad_lock->unlock(sad_lock);
	if (is_new && !accel_has(&accel))
	{
		/* The accelerator was lost before the SA was here to be negotiated anew with the others. */
		sad_schedule(&(sa_t){.id = number, .inbound = data->inbound}, 1, FALSE);
	}
	if (!is_new)
	{
		DBG1(DBG_KNL, "there is an SA %.8x to %H already", ntohl(id->spi), id->dst);
		discard(sa);
		return FAILED;
	}
	return SUCCESS;
}

/** Whether an SA can have another destination: none is there with its SPI. Under the lock. */
static bool is_free(sa_t *sa, host_t *dst)
{
	sa_t *other = sa->inbound ? NULL : find_outbound(sa->spi, sa->protocol, dst);

	return !other || other == sa;
}

status_t sad_update(kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data)
{
	status_t status = NOT_SUPPORTED;
	accel_sa_t accel;
	sa_t *sa;

	sad_lock->read_lock(sad_lock);
	sa = find(id);
	if (sa)
	{
		atomic_fetch_add_explicit(&sa->refs, 1, memory_order_relaxed);
		accel = sa->accel;
	}
	sad_lock->unlock(sad_lock);
	if (!sa)
	{
		return NOT_FOUND;
	}
	/* A device may take its time: packets do not wait for it. charon negotiates another SA when this one cannot move. */
	if ((sa->transport && !sa->compresses) ||
		accel_move(&accel, sa->inbound, data->new_src, data->new_dst) == SUCCESS)
	{
		hashtable_t *table = sa->inbound ? sad_inbound : sad_outbound;

		sad_lock->write_lock(sad_lock);
		if (find(id) == sa && is_free(sa, data->new_dst))
		{
			/* An outbound one is found by its destination. */
			table->remove(table, sa);
			set_path(sa, data->new_src, data->new_dst, data->new_encap);
			if (data->new_reqid)
			{
				sa->reqid = data->new_reqid;
			}
			table->put(table, sa, sa);
			status = SUCCESS;
		}
		sad_lock->unlock(sad_lock);
	}
	release(sa);
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
	else if (sad_release(id->spi))
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
	found = use_it(sad_find_inbound(spi, protocol), use);
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
