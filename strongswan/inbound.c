/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inbound.h"

#include "events.h"
#include "receiving.h"
#include "segment.h"
#include "sending.h"
#include "spd.h"
#include "tun.h"

#include <errno.h>

/** Bytes for what packets become: of one batch, and of inflated ones fewer at once. */
#define OPENED_SIZE (1 << 20)
/** Received headers may be longer than what the inner packet had. */
#define SLACK 128

struct inbound_t {
	size_t worker;
	receiver_state_t *receiver;
	flow_cache_t *flows;
	uint8_t *opened;
	g_ipsec_la_data in[BATCH][2], out[BATCH];
	g_ipsec_la_packet in_packets[BATCH], out_packets[BATCH];
	int32_t results[BATCH];
	piece_t pieces[BATCH];
	joined_t joined;
};

inbound_t *inbound_create(size_t worker)
{
	inbound_t *this;

	INIT(this,
		.worker = worker,
		.receiver = receiver_state_create(),
		.flows = flow_cache_create(),
		.opened = malloc(OPENED_SIZE),
	);
	for (int i = 0; i < BATCH; i++)
	{
		this->in_packets[i] = (g_ipsec_la_packet){2, this->in[i]};
		this->out_packets[i] = (g_ipsec_la_packet){1, &this->out[i]};
	}
	return this;
}

void inbound_destroy(inbound_t *this)
{
	receiver_state_destroy(this->receiver);
	flow_cache_destroy(this->flows);
	free(this->opened);
	free(this);
}

/** Writes packets to the TUN device, joined where they go together. */
static void write_pieces(inbound_t *this, size_t count)
{
	size_t taken;

	for (size_t at = 0; at < count; at += taken)
	{
		taken = join(this->pieces + at, count - at, &this->joined);
		if (writev(tun_queue(this->worker), this->joined.iov, this->joined.count) < 0 && errno != EINTR &&
			errno != EAGAIN && errno != ENOBUFS)
		{
			complain(COMPLAIN_TUN, "packets are dropped: the TUN device takes none (%s)", strerror(errno));
		}
	}
}

/** Keeps those of `count` opened packets that the policies let in, and writes them. */
static void deliver(inbound_t *this, const sa_use_t *use, const arrived_t *arrived[], size_t count)
{
	const flow_t *flows[BATCH];
	bool allowed[BATCH];
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
	{
		flows[i] = &this->pieces[i].flow;
	}
	spd_inbound(this->flows, use, flows, count, allowed);
	for (size_t i = 0; i < count; i++)
	{
		piece_t *piece = &this->pieces[i];

		if (!allowed[i])
		{
			complain(COMPLAIN_SPOOFED, "a packet out of SA %.8x was dropped: its addresses or ports are not of that SA's policies",
					 ntohl(use->sa->spi));
			continue;
		}
		if (use->sa->copy_dscp_in)
		{
			uint8_t tos = ip_tos(arrived[i]->header);

			ip_set_dscp(piece->packet, tos);
			piece->flow.tos = (uint8_t)((piece->flow.tos & 3) | (tos & 0xfc));
		}
		if (use->sa->transport && use->path.udp)
		{
			/* A NAT has changed addresses that the checksum covers (RFC 3948 section 3.1.2); the ICV was right. */
			ip_transport_checksum(piece->packet, &piece->flow);
		}
		this->pieces[kept++] = *piece;
	}
	write_pieces(this, kept);
}

/** Decapsulates packets of one SA. */
static void open_batch(inbound_t *this, sa_use_t *use, arrived_t *arrived, size_t count)
{
	static const g_ipsec_la_resp_args no_answer;
	const arrived_t *opened[BATCH];
	size_t used = 0, ready = 0, intact = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
	{
		size_t room = use->sa->compresses ? IP_MAX_PACKET : arrived[i].length + SLACK;

		this->in[i][0] = (g_ipsec_la_data){arrived[i].header, arrived[i].header_length};
		this->in[i][1] = (g_ipsec_la_data){arrived[i].packet, arrived[i].length};
		this->out[i] = (g_ipsec_la_data){this->opened + used, (uint32_t)room};
		this->results[i] = -ENODEV;
		used += (room + 63) & ~(size_t)63;
	}
	g_ipsec_la_ext_multi_packet_decap(&use->accel.accelerator, 0, &use->accel.sa, (uint32_t)count, this->in_packets,
									  this->out_packets, this->results, no_answer);
	for (size_t i = 0; i < count; i++)
	{
		piece_t *piece = &this->pieces[ready];

		if (this->results[i] != 0)
		{
			if (this->results[i] != -EBADF)
			{
				complain(COMPLAIN_REFUSED, "SA %.8x refused a packet: %s", ntohl(use->sa->spi), strerror(-this->results[i]));
			}
			continue;
		}
		intact++;
		if (this->receiver->udp && !same_address(&use->path.src, &this->receiver->from[arrived[i].message]))
		{
			sad_moved(use, &this->receiver->from[arrived[i].message]);
		}
		/* A dummy packet has no bytes. */
		if (!this->out[i].length)
		{
			continue;
		}
		piece->packet = this->out[i].buffer;
		if (!ip_parse(piece->packet, this->out[i].length, &piece->flow))
		{
			complain(COMPLAIN_NOT_IP, "SA %.8x carried something that is not an IP packet", ntohl(use->sa->spi));
			continue;
		}
		bytes += this->out[i].length;
		opened[ready++] = &arrived[i];
	}
	if (intact)
	{
		sad_count(use, intact, bytes);
	}
	deliver(this, use, opened, ready);
}

/** How many packets from the front belong to one SA, and fit a batch. */
static size_t batch_of(const arrived_t *arrived, size_t count, bool compresses)
{
	size_t most = min(count, compresses ? OPENED_SIZE / (IP_MAX_PACKET + 64) : BATCH), used = 0, run = 0;

	while (run < most && arrived[run].spi == arrived[0].spi)
	{
		used += compresses ? 0 : (arrived[run].length + SLACK + 64);
		if (run && used > OPENED_SIZE)
		{
			break;
		}
		run++;
	}
	return run;
}

size_t inbound_run(inbound_t *this, source_t source)
{
	int fd = sockets_source(this->worker, source);
	arrived_t *arrived = this->receiver->arrived;
	size_t messages = fd < 0 ? 0 : receive_packets(this->receiver, fd, source), run;

	if (!messages)
	{
		return 0;
	}
	for (size_t at = 0; at < this->receiver->count; at += run)
	{
		sa_use_t use;

		if (!sad_use_inbound(arrived[at].spi, arrived[at].protocol, &use))
		{
			complain(COMPLAIN_UNKNOWN_SPI, "a packet was dropped: there is no SA %.8x", ntohl(arrived[at].spi));
			run = batch_of(arrived + at, this->receiver->count - at, false);
			continue;
		}
		run = batch_of(arrived + at, this->receiver->count - at, use.sa->compresses);
		if (this->receiver->udp == use.path.udp)
		{
			open_batch(this, &use, arrived + at, run);
		}
		else
		{
			complain(COMPLAIN_REFUSED, "a packet of SA %.8x was dropped: it came %s UDP", ntohl(use.sa->spi),
					 use.path.udp ? "without" : "in");
		}
		sad_done(&use);
	}
	return messages;
}

void inbound_clear(inbound_t *this, source_t source)
{
	int fd = sockets_source(this->worker, source);

	if (fd >= 0)
	{
		send_learn(fd);
	}
}
