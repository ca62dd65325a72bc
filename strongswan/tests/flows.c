/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Property test of flow_cache.c: what it knows is what was noted last for that flow, owner and generation, and it knows
 * most of what it was told of late.
 */
#include "flow_cache.h"
#include "naive.h"

#define ROUNDS 300000
#define FLOWS 600
#define OWNERS 3

static unsigned long hits, misses;

/** Flows that differ in one thing each: some in one bit. */
static flow_t flow_of(size_t number)
{
	flow_t flow = {.version = number % 2 ? 4 : 6, .protocol = 17, .src_port = 1000, .dst_port = 53};

	flow.src.bytes[number % 16] = (uint8_t)(1 << number / 16 % 8);
	switch (number / 128)
	{
		case 0: break;
		case 1: flow.dst.bytes[3] = 1; break;
		case 2: flow.src_port = 1001; break;
		case 3: flow.dst_port = 54; break;
		default: flow.later_fragment = true; break;
	}
	/* What policies do not look at. */
	flow.tos = (uint8_t)draw();
	flow.length = (uint16_t)draw();
	flow.whole = once_in(2);
	return flow;
}

int main(void)
{
	static uintptr_t noted[FLOWS][OWNERS], noted_at[FLOWS][OWNERS];
	flow_cache_t *cache = flow_cache_create();
	uint64_t generation = 1;
	size_t range = FLOWS;

	for (round_now = 0; cache && round_now < ROUNDS; round_now++)
	{
		size_t number = below(range), owner = below(OWNERS);
		flow_t flow = flow_of(number);
		void *found = NULL;

		if (once_in(5000))
		{
			generation++;
			range = once_in(2) ? FLOWS : 20;
		}
		if (flow_cache_get(cache, generation, &flow, owner, &found))
		{
			hits++;
			CHECK(noted_at[number][owner] == generation, "of this generation");
			CHECK((uintptr_t)found == noted[number][owner], "what was noted last");
		}
		else
		{
			misses++;
			noted_at[number][owner] = generation;
			noted[number][owner] = once_in(3) ? 0 : draw();
			flow_cache_put(cache, generation, &flow, owner, (void*)noted[number][owner]);
		}
	}
	flow_cache_destroy(cache);
	printf("%lu hits, %lu misses; %lu failures\n", hits, misses, failures);
	return failures || hits < ROUNDS / 3 || misses < ROUNDS / 100;
}
