/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fragment.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define IPV6_HEADER 40
#define FRAGMENT_HEADER 8

#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define IP6_MF 1
#define IP6_OFFSET 0xfff8

/** Packets that wait for fragments at most: they come one after the other. */
#define WAITING 4

/** Where the byte is that says what the header at `header` is, of IPv6. */
static size_t says_what(const uint8_t *packet, size_t header)
{
	size_t at = 6, next = IPV6_HEADER;

	while (next < header)
	{
		size_t size = packet[at] == IPPROTO_FRAGMENT ? FRAGMENT_HEADER : 8 * (packet[next + 1] + 1u);

		at = next;
		next += size;
	}
	return at;
}

bool fragment_cut(const uint8_t *packet, const flow_t *flow, size_t mtu, uint32_t id, uint8_t *fragment,
				  bool (*take)(void *context, const uint8_t *fragment, size_t length), void *context)
{
	bool is4 = flow->version == 4;
	size_t kept = flow->header, header = kept + (is4 ? 0 : FRAGMENT_HEADER);
	size_t payload = flow->length - kept, step, at;
	uint16_t before = is4 ? get16(packet + 6) : 0;

	if (mtu < header + 8 || (before & IP_OFFSET) * 8u + flow->length > IP_MAX_PACKET || (!is4 && flow->fragment))
	{
		return false;
	}
	step = (mtu - header) & ~(size_t)7;
	for (at = 0; at < payload; at += step)
	{
		size_t here = payload - at < step ? payload - at : step;
		bool more = at + here < payload || before & IP_MF;

		/* Options are repeated, also those that need not be: a receiver ignores them. */
		memcpy(fragment, packet, kept);
		memcpy(fragment + header, packet + kept + at, here);
		if (is4)
		{
			put16(fragment + 2, (uint16_t)(header + here));
			put16(fragment + 6, (uint16_t)(((before & IP_OFFSET) + at / 8) | (more ? IP_MF : 0)));
			if (!get16(packet + 4))
			{
				put16(fragment + 4, (uint16_t)(id % 0xffff + 1));
			}
			ip_header_checksum(fragment);
		}
		else
		{
			size_t what = says_what(packet, kept);

			put16(fragment + 4, (uint16_t)(header + here - IPV6_HEADER));
			fragment[kept] = packet[what];
			fragment[kept + 1] = 0;
			put16(fragment + kept + 2, (uint16_t)(at | (more ? IP6_MF : 0)));
			put32(fragment + kept + 4, id);
			fragment[what] = IPPROTO_FRAGMENT;
		}
		if (!take(context, fragment, header + here))
		{
			return false;
		}
	}
	return true;
}

/** What a fragment says of itself. */
typedef struct part_t {
	/** Bytes of the headers that each fragment has, and where its part of the packet begins. */
	size_t kept, at;
	/** Where that part belongs. */
	size_t offset;
	bool more;
	/** What the part of the first one begins with, of IPv6; what was cut, of IPv4. */
	uint8_t protocol;
	uint32_t id;
} part_t;

static part_t part_of(const uint8_t *fragment, const flow_t *flow)
{
	size_t what = 6, next = IPV6_HEADER;

	if (flow->version == 4)
	{
		uint16_t field = get16(fragment + 6);

		return (part_t){.kept = flow->header, .at = flow->header, .offset = (field & IP_OFFSET) * 8u, .more = field & IP_MF,
						.protocol = fragment[9], .id = get16(fragment + 4)};
	}
	/* There is one: the flow says so. */
	while (fragment[what] != IPPROTO_FRAGMENT)
	{
		what = next;
		next += 8 * (fragment[next + 1] + 1u);
	}
	return (part_t){.kept = next, .at = next + FRAGMENT_HEADER, .offset = get16(fragment + next + 2) & IP6_OFFSET,
					.more = get16(fragment + next + 2) & IP6_MF, .protocol = fragment[next], .id = get32(fragment + next + 4)};
}

/** A packet that is being put together. */
typedef struct waiting_t {
	/** 0: nothing is. */
	uint8_t version;
	uint8_t protocol;
	uint32_t id;
	int64_t since;
	address_t src, dst;
	size_t kept, length;
	uint8_t packet[IP_MAX_PACKET];
} waiting_t;

struct reassembly_t {
	/** The place that is taken next. */
	unsigned next;
	waiting_t waiting[WAITING];
};

reassembly_t *reassembly_create(void)
{
	return calloc(1, sizeof(reassembly_t));
}

void reassembly_destroy(reassembly_t *this)
{
	free(this);
}

static waiting_t *find(reassembly_t *this, const flow_t *flow, const part_t *part, int64_t now)
{
	for (int i = 0; i < WAITING; i++)
	{
		waiting_t *waiting = &this->waiting[i];

		if (waiting->version == flow->version && waiting->id == part->id &&
			(flow->version == 6 || waiting->protocol == part->protocol) &&
			!memcmp(&waiting->src, &flow->src, sizeof(address_t)) && !memcmp(&waiting->dst, &flow->dst, sizeof(address_t)) &&
			now - waiting->since <= REASSEMBLY_PATIENCE)
		{
			return waiting;
		}
	}
	return NULL;
}

void reassembly_begin(reassembly_t *this, const uint8_t *fragment, const flow_t *flow, int64_t now)
{
	part_t part = part_of(fragment, flow);
	waiting_t *waiting = find(this, flow, &part, now);
	size_t here = flow->length - part.at;

	if (waiting)
	{
		waiting->version = 0;
	}
	if (part.offset || !part.more)
	{
		return;
	}
	if (!waiting)
	{
		waiting = &this->waiting[this->next++ % WAITING];
	}
	waiting->version = flow->version;
	waiting->protocol = part.protocol;
	waiting->id = part.id;
	waiting->since = now;
	waiting->src = flow->src;
	waiting->dst = flow->dst;
	waiting->kept = part.kept;
	waiting->length = part.kept + here;
	memcpy(waiting->packet, fragment, part.kept);
	memcpy(waiting->packet + part.kept, fragment + part.at, here);
}

/** The headers of a packet that has all its parts. */
static void complete(waiting_t *this)
{
	if (this->version == 4)
	{
		put16(this->packet + 2, (uint16_t)this->length);
		put16(this->packet + 6, 0);
		ip_header_checksum(this->packet);
	}
	else
	{
		put16(this->packet + 4, (uint16_t)(this->length - IPV6_HEADER));
		this->packet[says_what(this->packet, this->kept)] = this->protocol;
	}
	this->version = 0;
}

assembled_t reassembly_add(reassembly_t *this, const uint8_t *fragment, const flow_t *flow, int64_t now,
						   uint8_t **packet, size_t *length)
{
	part_t part = part_of(fragment, flow);
	waiting_t *waiting = find(this, flow, &part, now);
	size_t here = flow->length - part.at;

	if (!waiting)
	{
		return ASSEMBLED_NOT;
	}
	/* Parts that are not of eights have none that follows them: offsets are. */
	if (part.offset != waiting->length - waiting->kept || here > IP_MAX_PACKET - waiting->length)
	{
		waiting->version = 0;
		return ASSEMBLED_PART;
	}
	memcpy(waiting->packet + waiting->length, fragment + part.at, here);
	waiting->length += here;
	waiting->since = now;
	if (part.more)
	{
		return ASSEMBLED_PART;
	}
	*packet = waiting->packet;
	*length = waiting->length;
	complete(waiting);
	return ASSEMBLED_WHOLE;
}
