/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spd.h"

#include "events.h"
#include "plain.h"
#include "routes.h"

#include <collections/array.h>
#include <threading/rwlock.h>

/** Seconds before charon is asked for the same SA again. */
#define ASK_AGAIN 1

/** A policy as charon installed it. */
typedef struct rule_t {
	policy_dir_t dir;
	policy_type_t type;
	/** The lowest comes first; of equal ones the newest. */
	uint64_t priority;
	selector_t selector;
	uint32_t reqid;
	/** Of its SA, network order; 0: there is none yet. */
	uint32_t spi;
	uint8_t security;
	host_t *src, *dst;
	traffic_selector_t *src_ts, *dst_ts;
	bool routed;
	_Atomic int64_t used, asked;
} rule_t;

static rwlock_t *lock;
/** In the order in which they are looked at. */
static array_t *rules;
/** Another one whenever there are other rules; under the lock. */
static uint64_t generation = 1;

bool spd_create(void)
{
	lock = rwlock_create(RWLOCK_TYPE_DEFAULT);
	rules = array_create(0, 0);
	return TRUE;
}

static void rule_destroy(rule_t *this)
{
	if (this->routed)
	{
		route_delete(this->dst_ts);
	}
	DESTROY_IF(this->src);
	DESTROY_IF(this->dst);
	this->src_ts->destroy(this->src_ts);
	this->dst_ts->destroy(this->dst_ts);
	free(this);
}

void spd_flush(void)
{
	array_t *all;
	rule_t *rule;

	lock->write_lock(lock);
	all = rules;
	rules = array_create(0, 0);
	generation++;
	lock->unlock(lock);
	while (array_remove(all, ARRAY_HEAD, &rule))
	{
		rule_destroy(rule);
	}
	array_destroy(all);
	plain_changed();
}

void spd_destroy(void)
{
	spd_flush();
	array_destroy(rules);
	lock->destroy(lock);
}

/** Narrow selectors come before wide ones, as in other kernels: 512 is more than all that counts. */
static uint64_t priority_of(kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data,
							const selector_t *selector)
{
	uint8_t src = 0, dst = 0;
	uint64_t narrow;
	host_t *net;

	if (data->manual_prio)
	{
		return data->manual_prio;
	}
	id->src_ts->to_subnet(id->src_ts, &net, &src);
	net->destroy(net);
	id->dst_ts->to_subnet(id->dst_ts, &net, &dst);
	net->destroy(net);
	narrow = src + dst + (selector->protocol ? 2 : 0) + (selector_has_src_ports(selector) ? 2 : 0) +
			 (selector_has_dst_ports(selector) ? 2 : 0);
	return 100000 * (data->prio + 1ull) + 512 - narrow;
}

/** Which of several SAs, or that of ESP or AH. */
static void set_security(rule_t *this, ipsec_sa_cfg_t *sa)
{
	this->reqid = sa->reqid;
	this->spi = sa->esp.use ? sa->esp.spi : sa->ah.use ? sa->ah.spi : 0;
	this->security = sa->esp.use ? IPPROTO_ESP : IPPROTO_AH;
}

/** Under the lock: charon has set up what it was asked for, and is asked again when that is gone. */
static void answer(uint32_t reqid)
{
	rule_t *rule;

	for (int at = 0; at < array_count(rules); at++)
	{
		array_get(rules, at, &rule);
		if (rule->reqid == reqid)
		{
			atomic_store(&rule->asked, 0);
		}
	}
}

status_t spd_add(kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	rule_t *rule, *other;
	int at;

	if (id->mark.value || id->if_id || id->interface || id->label)
	{
		DBG1(DBG_KNL, "policies for marks, interfaces, interface IDs or labels are not supported by kernel-gipsec");
		return NOT_SUPPORTED;
	}
	INIT(rule,
		.dir = id->dir,
		.type = data->type,
		.selector = selector_create(id->src_ts, id->dst_ts),
		.src = data->src ? data->src->clone(data->src) : NULL,
		.dst = data->dst ? data->dst->clone(data->dst) : NULL,
		.src_ts = id->src_ts->clone(id->src_ts),
		.dst_ts = id->dst_ts->clone(id->dst_ts),
	);
	if (data->sa)
	{
		set_security(rule, data->sa);
	}
	rule->priority = priority_of(id, data, &rule->selector);
	/* Packets that come before the policy does go nowhere. */
	rule->routed = id->dir == POLICY_OUT && data->type != POLICY_PASS && route_add(id->src_ts, id->dst_ts, data->src);

	lock->write_lock(lock);
	for (at = 0; at < array_count(rules); at++)
	{
		array_get(rules, at, &other);
		if (rule->priority <= other->priority)
		{
			break;
		}
	}
	array_insert(rules, at, rule);
	generation++;
	if (rule->spi)
	{
		answer(rule->reqid);
	}
	lock->unlock(lock);
	plain_changed();
	return SUCCESS;
}

static bool is_same(rule_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	rule_t other = {0};

	if (this->dir != id->dir || this->type != data->type || !this->src_ts->equals(this->src_ts, id->src_ts) ||
		!this->dst_ts->equals(this->dst_ts, id->dst_ts))
	{
		return FALSE;
	}
	if (data->sa)
	{
		set_security(&other, data->sa);
	}
	if (this->type == POLICY_IPSEC && (this->reqid != other.reqid || this->spi != other.spi))
	{
		return FALSE;
	}
	/* Trap and SA may have the same selectors. */
	return data->manual_prio ? this->priority == data->manual_prio : this->priority / 100000 == data->prio + 1ull;
}

status_t spd_delete(kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	rule_t *rule, *found = NULL;

	lock->write_lock(lock);
	for (int at = 0; at < array_count(rules); at++)
	{
		array_get(rules, at, &rule);
		if (is_same(rule, id, data))
		{
			array_remove(rules, at, &found);
			generation++;
			break;
		}
	}
	lock->unlock(lock);
	if (!found)
	{
		return NOT_FOUND;
	}
	rule_destroy(found);
	plain_changed();
	return SUCCESS;
}

status_t spd_query(kernel_ipsec_policy_id_t *id, time_t *used)
{
	status_t status = NOT_FOUND;
	rule_t *rule;

	*used = 0;
	lock->read_lock(lock);
	for (int at = 0; at < array_count(rules); at++)
	{
		array_get(rules, at, &rule);
		if (rule->dir == id->dir && rule->src_ts->equals(rule->src_ts, id->src_ts) &&
			rule->dst_ts->equals(rule->dst_ts, id->dst_ts))
		{
			*used = max(*used, (time_t)atomic_load_explicit(&rule->used, memory_order_relaxed));
			status = SUCCESS;
		}
	}
	lock->unlock(lock);
	return status;
}

/** The selector of one packet, for charon to narrow to (RFC 7296 section 2.9). */
static traffic_selector_t *selector_of(const flow_t *flow, const address_t *address, uint16_t port)
{
	chunk_t bytes = chunk_create((u_char*)address->bytes, flow->version == 4 ? 4 : 16);

	return traffic_selector_create_from_bytes(flow->protocol, flow->version == 4 ? TS_IPV4_ADDR_RANGE :
											  TS_IPV6_ADDR_RANGE, bytes, port, bytes, port);
}

/** Under the lock. */
static void ask(rule_t *this, const flow_t *flow)
{
	int64_t now = time_monotonic(NULL), asked = atomic_load(&this->asked);

	if ((!asked || now - asked >= ASK_AGAIN) && atomic_compare_exchange_strong(&this->asked, &asked, now))
	{
		event_acquire(this->reqid, selector_of(flow, &flow->src, flow->src_port),
					  selector_of(flow, &flow->dst, flow->dst_port));
	}
}

/** Whether an inbound rule has a say in what comes out of an SA. */
static bool concerns(const rule_t *this, const sa_use_t *use)
{
	switch (this->type)
	{
		case POLICY_PASS:
			/* It is for plain packets. */
			return FALSE;
		case POLICY_DROP:
			return TRUE;
		case POLICY_IPSEC:
			break;
	}
	/* Other SAs may have the same reqid, when it is configured. */
	return this->reqid == use->reqid && (!this->spi || this->spi == use->sa->spi);
}

/** Whether a rule is for packets of a flow: outbound ones, or those that came out of an SA. */
static bool is_for(const rule_t *this, const flow_t *flow, const sa_use_t *use)
{
	return (this->dir == POLICY_OUT) == !use && (!use || concerns(this, use)) && selector_matches(&this->selector, flow);
}

/** The first rule that is for them, or NULL; under the lock. */
static rule_t *find(flow_cache_t *cache, const flow_t *flow, const sa_use_t *use)
{
	uint64_t owner = use ? use->sa->id : 0;
	rule_t *rule, *found = NULL;

	if (!flow_cache_get(cache, generation, flow, owner, (void**)&found))
	{
		for (int at = 0; at < array_count(rules) && !found; at++)
		{
			array_get(rules, at, &rule);
			found = is_for(rule, flow, use) ? rule : NULL;
		}
		flow_cache_put(cache, generation, flow, owner, found);
	}
	if (found)
	{
		atomic_store_explicit(&found->used, time_monotonic(NULL), memory_order_relaxed);
	}
	return found;
}

/** Under the lock. */
static verdict_t decide(rule_t *this, const flow_t *flow, sa_use_t *use)
{
	switch (this->type)
	{
		case POLICY_PASS:
			return SPD_PASS;
		case POLICY_DROP:
			return SPD_DROP;
		case POLICY_IPSEC:
			break;
	}
	if (this->spi && sad_use_outbound(this->spi, this->security, this->dst, this->reqid, use))
	{
		return SPD_PROTECT;
	}
	if (!this->spi)
	{
		ask(this, flow);
	}
	return SPD_WAIT;
}

verdict_t spd_outbound(flow_cache_t *cache, const flow_t *flow, sa_use_t *use)
{
	verdict_t verdict;
	rule_t *rule;

	lock->read_lock(lock);
	rule = find(cache, flow, NULL);
	verdict = rule ? decide(rule, flow, use) : SPD_NONE;
	lock->unlock(lock);
	return verdict;
}

void spd_inbound(flow_cache_t *cache, const sa_use_t *use, const flow_t *flows[], size_t count, bool allowed[])
{
	rule_t *rule = NULL;

	lock->read_lock(lock);
	for (size_t i = 0; i < count; i++)
	{
		if (i == 0 || !flow_is_same(flows[i], flows[i - 1]))
		{
			rule = find(cache, flows[i], use);
		}
		allowed[i] = rule && rule->type == POLICY_IPSEC;
	}
	lock->unlock(lock);
}

void spd_list(void (*show)(void *context, const selector_t *selector, policy_dir_t dir, policy_type_t type, host_t *src,
						   host_t *dst), void *context)
{
	rule_t *rule;

	lock->read_lock(lock);
	for (int at = 0; at < array_count(rules); at++)
	{
		array_get(rules, at, &rule);
		show(context, &rule->selector, rule->dir, rule->type, rule->src, rule->dst);
	}
	lock->unlock(lock);
}
