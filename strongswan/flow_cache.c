/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "flow_cache.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 256
/** What policies look at comes first in a flow. */
#define KEY offsetof(flow_t, tos)

typedef struct slot_t {
	uint64_t generation, owner;
	flow_t flow;
	void *found;
} slot_t;

struct flow_cache_t {
	slot_t slots[SLOTS];
};

flow_cache_t *flow_cache_create(void)
{
	return calloc(1, sizeof(flow_cache_t));
}

void flow_cache_destroy(flow_cache_t *this)
{
	free(this);
}

static size_t slot_of(const flow_t *flow, uint64_t owner)
{
	uint64_t words[4], hash = owner;

	memcpy(words, &flow->src, sizeof(words));
	for (int i = 0; i < 4; i++)
	{
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	hash = (hash ^ (uint64_t)flow->src_port << 32 ^ (uint64_t)flow->dst_port << 16 ^ flow->protocol) * 0x9e3779b97f4a7c15u;
	return hash >> 56;
}

_Static_assert(SLOTS == 256, "a slot is eight bits of a hash");
_Static_assert(offsetof(flow_t, src) == 0 && offsetof(flow_t, dst) == 16, "both addresses are 32 bytes");

bool flow_is_same(const flow_t *one, const flow_t *other)
{
	return one->later_fragment == other->later_fragment && !memcmp(one, other, KEY);
}

bool flow_cache_get(const flow_cache_t *this, uint64_t generation, const flow_t *flow, uint64_t owner, void **found)
{
	const slot_t *slot = &this->slots[slot_of(flow, owner)];

	if (slot->generation != generation || slot->owner != owner || !flow_is_same(&slot->flow, flow))
	{
		return false;
	}
	*found = slot->found;
	return true;
}

void flow_cache_put(flow_cache_t *this, uint64_t generation, const flow_t *flow, uint64_t owner, void *found)
{
	this->slots[slot_of(flow, owner)] = (slot_t){.generation = generation, .owner = owner, .flow = *flow, .found = found};
}
