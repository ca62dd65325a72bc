/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Property test of fragment.c: packets of both versions are cut and put together again, by a naive receiver and by ours; and
 * fragments that were damaged, lost or doubled, with a fixed seed.
 *
 *   cc -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=address,undefined -I.. fragments.c ../fragment.c ../ip.c && ./a.out [rounds]
 */
#include "fragment.h"
#include "naive.h"

#define ROUNDS 60000

static unsigned long cut_packets, assembled_packets, abandoned, damaged;

/** A receiver of fragments: all of them, and what was cut. */
typedef struct fragments_t {
	const uint8_t *packet;
	size_t header, mtu, base;
	uint32_t id;
	bool four, more_before;
	size_t count;
	struct {
		uint8_t *bytes;
		size_t length;
	} at[9000];
	uint8_t whole[70000];
	bool have[70000 / 8 + 1];
	size_t end;
	bool ended;
} fragments_t;

static void note(fragments_t *this, const uint8_t *payload, size_t length, size_t offset, bool more)
{
	CHECK(offset + this->header + length <= 65535 + 8u, "a fragment ends within what a packet may be");
	if (!CHECK(offset >= this->base, "a fragment is not before what it was cut from"))
	{
		return;
	}
	offset -= this->base;
	CHECK(more || !this->more_before, "the last fragment only where there was one");
	CHECK(!more || length % 8 == 0, "fragments are of eights");
	this->ended |= !more;
	for (size_t i = 0; i < length; i += 8)
	{
		CHECK(!this->have[(offset + i) / 8], "fragments do not overlap");
		this->have[(offset + i) / 8] = true;
	}
	memcpy(this->whole + offset, payload, length);
	this->end = offset + length > this->end ? offset + length : this->end;
}

static bool take(void *context, const uint8_t *fragment, size_t length)
{
	fragments_t *this = context;
	uint8_t protocol;
	bool later, is_fragment;
	size_t header = naive_header(fragment, length, &protocol, &later, &is_fragment);

	CHECK(length <= this->mtu, "length of a fragment");
	CHECK(header && naive_header_is_right(fragment), "a fragment is a packet");
	this->at[this->count].bytes = copy_of(fragment, length);
	this->at[this->count++].length = length;
	if (this->four)
	{
		uint16_t field = get16(fragment + 6);

		header = (fragment[0] & 0xf) * 4u;
		CHECK(!(field & 0x4000), "a fragment does not ask to stay whole");
		CHECK(get16(this->packet + 4) ? get16(fragment + 4) == get16(this->packet + 4) : get16(fragment + 4) != 0,
			  "identification of a fragment");
		note(this, fragment + header, length - header, (field & 0x1fff) * 8u, field & 0x2000);
	}
	else
	{
		const uint8_t *at = fragment + this->header;

		CHECK(is_fragment && get32(at + 4) == this->id && !at[1] && !(at[3] & 6), "the fragment header");
		note(this, at + 8, length - this->header - 8, get16(at + 2) & 0xfff8, at[3] & 1);
	}
	return true;
}

/** Builds a packet, and cuts it; false: it cannot be. */
static bool make(fragments_t *this, uint8_t *made, size_t *length)
{
	size_t payload = below(once_in(200) ? 60000 : 4000);
	uint8_t *fragment;
	uint16_t offset = 0;
	bool done, fits;
	flow_t flow;

	memset(this, 0, sizeof(*this));
	this->four = once_in(2);
	this->header = build(made, this->four, IPPROTO_UDP, 8, payload, false, length);
	this->mtu = this->header + 16 + below(once_in(4) ? 3000 : 700);
	if (*length / (this->mtu - this->header) > 400)
	{
		this->mtu = this->header + *length / 100 + 16;
	}
	if (this->four)
	{
		offset = (uint16_t)(!once_in(4) ? 0 : once_in(4) ? 0x1fff - below(300) : below(0x1fff));
		put16(made + 6, (uint16_t)(offset | (once_in(4) && (*length - this->header) % 8 == 0 ? 0x2000 : 0) | (once_in(2) ? 0x4000 : 0)));
		put16(made + 4, once_in(4) ? 0 : get16(made + 4));
		naive_set_checksums(made, *length, this->header, IPPROTO_UDP);
		this->more_before = get16(made + 6) & 0x2000;
	}
	this->base = offset * 8u;
	this->id = draw();
	this->packet = copy_of(made, *length);
	fragment = malloc(this->mtu);
	if (!fragment || !CHECK(ip_parse(this->packet, *length, &flow), "a packet to be cut"))
	{
		abort();
	}
	fits = this->base + *length <= 65535;
	done = fragment_cut(this->packet, &flow, this->mtu, this->id, fragment, take, this);
	CHECK(done == fits, "what would reach past the end of all packets is not cut: offsets would begin anew");
	free(fragment);
	return done;
}

static void drop(fragments_t *this)
{
	for (size_t i = 0; i < this->count; i++)
	{
		free(this->at[i].bytes);
	}
	free((uint8_t*)this->packet);
}

/** Seconds. */
static int64_t now = 100;

static bool add(reassembly_t *reassembly, const uint8_t *bytes, size_t length, bool first, uint8_t **packet, size_t *whole)
{
	flow_t flow;

	if (!ip_parse(bytes, length, &flow) || !flow.fragment)
	{
		return false;
	}
	if (flow.later_fragment)
	{
		return reassembly_add(reassembly, bytes, &flow, now, packet, whole) == ASSEMBLED_WHOLE;
	}
	CHECK(first || damaged, "one first fragment");
	reassembly_begin(reassembly, bytes, &flow, now);
	return false;
}

/** A fragment of its own: `offset` in eights. */
static void give(reassembly_t *reassembly, bool four, uint8_t src, uint8_t dst, uint8_t protocol, uint32_t id, size_t offset,
				 bool more, size_t payload, bool *whole, size_t *length)
{
	static uint8_t made[70000];
	size_t header = four ? 20 : 48;
	uint8_t *packet, *copy;
	flow_t flow;

	memset(made, 0, header);
	memset(made + header, (int)(offset * 7 + src), payload);
	if (four)
	{
		made[0] = 0x45;
		put16(made + 2, (uint16_t)(header + payload));
		put16(made + 4, (uint16_t)id);
		put16(made + 6, (uint16_t)(offset | (more ? 0x2000 : 0)));
		made[9] = protocol;
		made[15] = src;
		made[19] = dst;
	}
	else
	{
		made[0] = 0x60;
		put16(made + 4, (uint16_t)(8 + payload));
		made[6] = 44;
		made[23] = src;
		made[39] = dst;
		made[40] = protocol;
		put16(made + 42, (uint16_t)(offset * 8 | more));
		put32(made + 44, id);
	}
	copy = copy_of(made, header + payload);
	*whole = false;
	if (CHECK(ip_parse(copy, header + payload, &flow) && flow.fragment, "a fragment"))
	{
		if (flow.later_fragment)
		{
			*whole = reassembly_add(reassembly, copy, &flow, now, &packet, length) == ASSEMBLED_WHOLE;
		}
		else
		{
			reassembly_begin(reassembly, copy, &flow, now);
		}
	}
	free(copy);
}

/** What belongs together, and what does not; time; lengths that no packet has. */
static void test_rules(void)
{
	reassembly_t *reassembly = reassembly_create();
	bool whole;
	size_t length = 0;

	if (!reassembly)
	{
		abort();
	}
	for (int four = 0; four < 2; four++)
	{
		/* One that differs in one thing is not the rest of it. */
		for (int other = 0; other < 5; other++)
		{
			give(reassembly, four, 1, 2, 17, 9, 0, true, 16, &whole, &length);
			give(reassembly, other == 0 ? !four : four, other == 1 ? 3 : 1, other == 2 ? 3 : 2, other == 3 && four ? 6 : 17,
				 other == 4 || (other == 3 && !four) ? 8 : 9, 2, false, 5, &whole, &length);
			CHECK(!whole, "the rest of another packet");
			give(reassembly, four, 1, 2, 17, 9, 2, false, 5, &whole, &length);
			CHECK(whole && length == (four ? 20u : 40u) + 21, "its own rest");
			give(reassembly, four, 1, 2, 17, 9, 2, false, 5, &whole, &length);
			CHECK(!whole, "a packet comes once");
		}
		/* Four at once, with lone fragments in between, which take no place. */
		for (uint8_t number = 0; number < 4; number++)
		{
			give(reassembly, four, number, 2, 17, 7, 0, true, 8, &whole, &length);
			give(reassembly, four, (uint8_t)(100 + number), 2, 17, 7, 1, false, 8, &whole, &length);
			CHECK(!whole, "a rest alone");
		}
		for (uint8_t number = 0; number < 4; number++)
		{
			give(reassembly, four, number, 2, 17, 7, 1, false, 3, &whole, &length);
			CHECK(whole, "four at once");
		}
		/* Parts that are not of eights, but the last. */
		give(reassembly, four, 1, 2, 17, 5, 0, true, 13, &whole, &length);
		give(reassembly, four, 1, 2, 17, 5, 1, false, 8, &whole, &length);
		CHECK(!whole, "a first part that is not of eights");
		give(reassembly, four, 1, 2, 17, 5, 0, true, 16, &whole, &length);
		give(reassembly, four, 1, 2, 17, 5, 2, true, 9, &whole, &length);
		give(reassembly, four, 1, 2, 17, 5, 3, false, 8, &whole, &length);
		CHECK(!whole, "a part that is not of eights");
		/* No longer than a packet can be, whatever the offsets say. */
		give(reassembly, four, 1, 2, 17, 4, 0, true, 60000, &whole, &length);
		give(reassembly, four, 1, 2, 17, 4, 7500, true, 5400, &whole, &length);
		give(reassembly, four, 1, 2, 17, 4, 8175, false, 2000, &whole, &length);
		CHECK(!whole, "longer than any packet");
		/* Late. */
		give(reassembly, four, 1, 2, 17, 3, 0, true, 16, &whole, &length);
		now += REASSEMBLY_PATIENCE + 1;
		give(reassembly, four, 1, 2, 17, 3, 2, false, 16, &whole, &length);
		CHECK(!whole, "the rest came too late: it may be that of another packet");
	}
	reassembly_destroy(reassembly);
}

/** What was cut comes out again: by the naive receiver, and by ours, with others in between. */
static void test_cut(reassembly_t *reassembly)
{
	static fragments_t this, other;
	static uint8_t made[70000], mixed[70000];
	size_t length, mixed_length, whole = 0, second = 0;
	uint8_t *packet = NULL;
	bool has_other;

	if (!make(&this, made, &length))
	{
		drop(&this);
		return;
	}
	cut_packets++;
	CHECK(this.end == length - this.header && !memcmp(this.whole, made + this.header, this.end), "put together again");
	CHECK(this.ended == !this.more_before, "the end is the end");
	has_other = make(&other, mixed, &mixed_length);
	for (size_t i = 0; i < this.count && this.count > 1; i++)
	{
		bool done;

		if (has_other && other.count > 1 && second < other.count - 1 && once_in(2))
		{
			add(reassembly, other.at[second].bytes, other.at[second].length, second == 0, &packet, &whole);
			second++;
		}
		done = add(reassembly, this.at[i].bytes, this.at[i].length, i == 0, &packet, &whole);
		CHECK(done == (i + 1 == this.count && !this.more_before && !this.base), "whole with the last one");
		if (done)
		{
			assembled_packets++;
			if (this.four)
			{
				/* The header but for what cutting changes: identification, DF, checksum. */
				put16(made + 6, 0);
				put16(made + 4, get16(packet + 4));
				naive_set_checksums(made, length, this.header, IPPROTO_UDP);
				put16(made + this.header + 6, get16(this.packet + this.header + 6));
			}
			CHECK(whole == length && !memcmp(packet, made, length), "as it was");
		}
	}
	drop(&this);
	drop(&other);
}

/** Fragments that are lost, doubled, exchanged or damaged make no packet, or one of those that were cut. */
static void test_damage(reassembly_t *reassembly)
{
	static fragments_t this;
	static uint8_t made[70000];
	size_t length, whole;
	uint8_t *packet;
	bool touched = false;

	if (make(&this, made, &length) && this.count > 2 && !this.base && !this.more_before)
	{
		size_t victim = below(this.count), other = below(this.count - 1);
		unsigned kind = (unsigned)below(4);

		damaged++;
		other += other >= victim;
		for (size_t i = 0; i < this.count; i++)
		{
			size_t now = kind == 0 && i == victim ? other : kind == 0 && i == other ? victim : i;

			if (kind == 1 && i == victim)
			{
				continue;
			}
			if (kind == 2 && i == victim)
			{
				this.at[now].bytes[below(this.at[now].length < 64 ? this.at[now].length : 64)] ^= (uint8_t)(1 << below(8));
				touched = true;
			}
			for (unsigned times = kind == 3 && i == victim ? 2 : 1; times; times--)
			{
				if (add(reassembly, this.at[now].bytes, this.at[now].length, true, &packet, &whole))
				{
					/* A first fragment twice begins anew; the last twice comes too late. */
					CHECK(touched || (kind == 3 && (victim == 0 || victim == this.count - 1)), "no packet of what is not all of it");
					CHECK(whole <= 65535, "a packet");
				}
			}
		}
		abandoned++;
	}
	drop(&this);
}

int main(int argc, char *argv[])
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : ROUNDS;
	reassembly_t *reassembly = reassembly_create();

	test_rules();
	for (round_now = 0; reassembly && round_now < rounds; round_now++)
	{
		(round_now % 2 ? test_damage : test_cut)(reassembly);
	}
	reassembly_destroy(reassembly);
	printf("%lu rounds: %lu packets cut, %lu put together, %lu damaged; %lu failures\n", rounds, cut_packets,
		   assembled_packets, damaged, failures);
	if (rounds >= ROUNDS && (!cut_packets || !assembled_packets || !abandoned))
	{
		fprintf(stderr, "something was never tried\n");
		return 1;
	}
	return failures ? 1 : 0;
}
