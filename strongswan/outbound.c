/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "outbound.h"

#include "events.h"
#include "fragment.h"
#include "segment.h"
#include "sending.h"
#include "spd.h"
#include "tun.h"

#include <errno.h>
#include <unistd.h>

/** What an SA adds to a packet at most, without padding for traffic flow confidentiality: bundles and IPv6 included. */
#define MOST_ADDED 512
/** Packets read in one turn at most. */
#define TURN 256

struct outbound_t {
	sender_state_t sender;
	reassembly_t *reassembly;
	flow_cache_t *flows;
	/** The packet that was read, with what the kernel says of it. */
	struct virtio_net_hdr hdr;
	uint8_t *packet;
	/** A batch of one SA: packets, and room for what they become. */
	sa_use_t use;
	bool has_sa;
	uint8_t *plain, *sealed;
	size_t plain_used, sealed_used, count;
	/** Of padding. */
	size_t padded;
	g_ipsec_la_data in[BATCH], out[BATCH];
	g_ipsec_la_packet in_packets[BATCH], out_packets[BATCH];
	int32_t results[BATCH];
	/** What they become may be cut. */
	bool cut[BATCH];
};

/** Bytes of either side of a batch: one packet of any length fits, and what it becomes. */
#define PLAIN_SIZE (IP_MAX_PACKET + 1 + 65536)
#define SEALED_SIZE (PLAIN_SIZE + BATCH * (MOST_ADDED + 64))

outbound_t *outbound_create(size_t worker, unsigned mtu)
{
	outbound_t *this;

	INIT(this,
		.sender = {.worker = worker, .cuts = TRUE, .whole4 = TRUE, .whole6 = TRUE, .id = (uint32_t)random()},
		.reassembly = reassembly_create(),
		.flows = flow_cache_create(),
		.packet = malloc(IP_MAX_PACKET + 1),
		.plain = malloc(PLAIN_SIZE),
		.sealed = malloc(SEALED_SIZE),
		.padded = mtu,
	);
	for (int i = 0; i < BATCH; i++)
	{
		this->in_packets[i] = (g_ipsec_la_packet){1, &this->in[i]};
		this->out_packets[i] = (g_ipsec_la_packet){1, &this->out[i]};
	}
	return this;
}

void outbound_destroy(outbound_t *this)
{
	reassembly_destroy(this->reassembly);
	flow_cache_destroy(this->flows);
	free(this->packet);
	free(this->plain);
	free(this->sealed);
	free(this);
}

/** Encapsulates the batch, and sends it. */
static void flush(outbound_t *this)
{
	static const g_ipsec_la_resp_args no_answer;
	outgoing_t outgoing[BATCH];
	size_t ready = 0;
	uint64_t bytes = 0;

	if (!this->count)
	{
		return;
	}
	/* Each packet has a result of its own, also when the accelerator is gone. */
	for (size_t i = 0; i < this->count; i++)
	{
		this->results[i] = -ENODEV;
	}
	g_ipsec_la_ext_multi_packet_encap(&this->use.accel.accelerator, 0, &this->use.accel.sa, (uint32_t)this->count,
									  this->in_packets, this->out_packets, this->results, no_answer);
	for (size_t i = 0; i < this->count; i++)
	{
		if (this->results[i] == 0)
		{
			bytes += this->in[i].length;
			outgoing[ready++] = (outgoing_t){this->out[i].buffer, this->out[i].length, this->cut[i]};
		}
		else if (this->results[i] != -EBADF)
		{
			complain(COMPLAIN_REFUSED, "SA %.8x could not take a packet: %s", ntohl(this->use.sa->spi),
					 strerror(-this->results[i]));
		}
	}
	if (ready)
	{
		send_packets(&this->sender, &this->use, outgoing, ready);
		sad_count(&this->use, ready, bytes);
	}
	this->count = this->plain_used = this->sealed_used = 0;
}

/** Ends the batch: the next packet may have another SA. */
static void end_batch(outbound_t *this)
{
	flush(this);
	if (this->has_sa)
	{
		sad_done(&this->use);
		this->has_sa = FALSE;
	}
}

/** Room for a packet in the batch. */
static uint8_t *room_for(outbound_t *this, size_t length)
{
	size_t sealed = max(length, this->padded) + MOST_ADDED;

	if (this->count == BATCH || this->plain_used + length > PLAIN_SIZE || this->sealed_used + sealed > SEALED_SIZE)
	{
		flush(this);
	}
	return this->plain + this->plain_used;
}

/** Puts the packet that lies in the room into the batch; what it becomes may be cut, or as its header says. */
static void put(outbound_t *this, size_t length, bool cut)
{
	size_t room = max(length, this->padded) + MOST_ADDED;

	/* Linux may replace an identification of 0, which AH covers: any other will do for a packet that stays whole. */
	if (this->use.sa->protocol == IPPROTO_AH && this->use.sa->transport)
	{
		uint8_t *packet = this->plain + this->plain_used;

		if (packet[0] >> 4 == 4 && !get16(packet + 4))
		{
			put16(packet + 4, (uint16_t)(1 + (this->plain_used & 0x7fff)));
			ip_header_checksum(packet);
		}
	}
	this->in[this->count] = (g_ipsec_la_data){this->plain + this->plain_used, (uint32_t)length};
	this->out[this->count] = (g_ipsec_la_data){this->sealed + this->sealed_used, (uint32_t)room};
	this->plain_used += (length + 63) & ~(size_t)63;
	this->sealed_used += (room + 63) & ~(size_t)63;
	this->cut[this->count++] = cut;
}

static bool put_fragment(void *context, const uint8_t *fragment, size_t length)
{
	outbound_t *this = context;

	memcpy(room_for(this, length), fragment, length);
	put(this, length, FALSE);
	return TRUE;
}

/** The smallest MTU of IPv6: what is no longer has to get through. */
#define IPV6_MIN_MTU 1280

/** A packet that is too long for the tunnel is cut before or after, or its sender told; TRUE: others of its kind need not
 *  be tried. */
static bool too_long(outbound_t *this, const uint8_t *packet, const flow_t *flow, uint32_t mtu)
{
	uint8_t answer[sizeof(struct virtio_net_hdr) + 1280] = {0}, fragment[IP_MAX_PACKET];
	size_t length;

	if (flow->version == 6 && flow->length <= IPV6_MIN_MTU)
	{
		memcpy(room_for(this, flow->length), packet, flow->length);
		put(this, flow->length, TRUE);
		return FALSE;
	}
	if (!flow->whole && fragment_cut(packet, flow, mtu, this->sender.id++, fragment, put_fragment, this))
	{
		return FALSE;
	}
	length = ip_too_big(packet, flow, mtu, answer + sizeof(struct virtio_net_hdr));
	if (length && write(tun_queue(this->sender.worker), answer, sizeof(struct virtio_net_hdr) + length) < 0)
	{
		complain(COMPLAIN_TOO_BIG, "a sender could not be told of the path's MTU: %s", strerror(errno));
	}
	return TRUE;
}

/** Cuts a packet into those that were meant, and puts them into the batch. */
static void protect(outbound_t *this, uint8_t *packet, const flow_t *flow, bool assembled)
{
	uint32_t mtu = atomic_load_explicit(&this->use.sa->inner_mtu, memory_order_relaxed);
	/* Transport mode protects packets as they were before they were cut (RFC 4303 section 3.1.1). */
	bool cut = this->use.sa->transport && (assembled || !flow->whole);
	splitter_t splitter;
	size_t length, largest;

	if (!split_begin(&splitter, &this->hdr, packet, flow))
	{
		complain(COMPLAIN_NOT_IP, "the TUN device gave a packet that does not fit its description");
		return;
	}
	largest = split_largest(&splitter);
	if (mtu && largest > mtu && !cut)
	{
		uint8_t segment[IP_MAX_PACKET];
		flow_t one;

		while ((length = split_next(&splitter, segment, sizeof(segment))) && ip_parse(segment, length, &one) &&
			   !too_long(this, segment, &one, mtu));
		return;
	}
	for (;;)
	{
		length = split_next(&splitter, room_for(this, largest), largest);
		if (!length)
		{
			break;
		}
		put(this, length, cut);
	}
}

static void pass(outbound_t *this, uint8_t *packet, const flow_t *flow)
{
	splitter_t splitter;
	uint8_t segment[IP_MAX_PACKET];
	size_t length;

	if (split_begin(&splitter, &this->hdr, packet, flow))
	{
		while ((length = split_next(&splitter, segment, sizeof(segment))))
		{
			send_plain(segment, length);
		}
	}
}

/** What becomes of a packet; whether this system had cut it before. */
static void route(outbound_t *this, uint8_t *packet, size_t length, bool assembled)
{
	sa_use_t use;
	flow_t flow;

	if (!ip_parse(packet, length, &flow))
	{
		complain(COMPLAIN_NOT_IP, "a packet from the TUN device is not an IP packet");
		return;
	}
	if (flow.fragment && assembled)
	{
		/* Cut twice: nobody does that. */
		return;
	}
	if (flow.later_fragment)
	{
		switch (reassembly_add(this->reassembly, packet, &flow, time_monotonic(NULL), &packet, &length))
		{
			case ASSEMBLED_WHOLE:
				route(this, packet, length, TRUE);
				return;
			case ASSEMBLED_PART:
				return;
			case ASSEMBLED_NOT:
				break;
		}
	}
	switch (spd_outbound(this->flows, &flow, &use))
	{
		case SPD_PROTECT:
			if (flow.fragment && use.sa->transport)
			{
				reassembly_begin(this->reassembly, packet, &flow, time_monotonic(NULL));
				sad_done(&use);
				break;
			}
			if (this->has_sa && use.sa == this->use.sa)
			{
				sad_done(&use);
			}
			else
			{
				end_batch(this);
				this->use = use;
				this->has_sa = TRUE;
			}
			protect(this, packet, &flow, assembled);
			break;
		case SPD_PASS:
			pass(this, packet, &flow);
			break;
		case SPD_NONE:
			/* The system itself sends multicast to every interface. */
			if (flow.dst.bytes[0] != 0xff && (flow.version == 6 || flow.dst.bytes[0] < 224))
			{
				complain(COMPLAIN_NO_POLICY, "a packet was dropped: the TUN device has a route for it, but there is no policy");
			}
			break;
		case SPD_WAIT:
			complain(COMPLAIN_NO_SA, "a packet was dropped: there is no SA for its policy now");
			break;
		case SPD_DROP:
			break;
	}
}

bool outbound_run(outbound_t *this)
{
	struct iovec iov[] = {{&this->hdr, sizeof(this->hdr)}, {this->packet, IP_MAX_PACKET + 1}};
	ssize_t length = 0;
	int error = 0;

	for (int i = 0; i < TURN; i++)
	{
		length = readv(tun_queue(this->sender.worker), iov, countof(iov));
		if (length < (ssize_t)sizeof(this->hdr))
		{
			error = errno;
			break;
		}
		route(this, this->packet, (size_t)length - sizeof(this->hdr), FALSE);
	}
	end_batch(this);
	/* What sending said is not about the TUN device. */
	errno = error;
	return length >= 0 || error == EAGAIN || error == EINTR;
}
