/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "segment.h"

#include <netinet/in.h>
#include <string.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_CWR 0x80
#define TCP_HEADER 20
#define UDP_HEADER 8

static size_t tcp_header(const uint8_t *tcp)
{
	return (tcp[12] >> 4) * 4u;
}

/** Adds what the sender of a packet left to the device. */
static bool complete_checksum(const struct virtio_net_hdr *hdr, uint8_t *packet, size_t length)
{
	size_t start = hdr->csum_start, at = start + hdr->csum_offset;
	uint16_t checksum;

	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
	{
		return true;
	}
	if (at + 2 > length)
	{
		return false;
	}
	checksum = (uint16_t)~ip_fold(ip_sum(packet + start, length - start));
	if (!checksum && hdr->csum_offset == 6)
	{
		checksum = 0xffff;
	}
	memcpy(packet + at, &checksum, sizeof(checksum));
	return true;
}

bool split_begin(splitter_t *this, const struct virtio_net_hdr *hdr, uint8_t *packet, const flow_t *flow)
{
	const uint8_t *transport = packet + flow->header;
	uint8_t type = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	size_t left = flow->length - flow->header;

	*this = (splitter_t){.packet = packet, .flow = *flow, .headers = flow->header};
	if (flow->version == 4)
	{
		this->id = get16(packet + 4);
	}
	switch (type)
	{
		case VIRTIO_NET_HDR_GSO_NONE:
			this->headers = 0;
			this->size = flow->length;
			return complete_checksum(hdr, packet, flow->length);
		case VIRTIO_NET_HDR_GSO_TCPV4:
		case VIRTIO_NET_HDR_GSO_TCPV6:
			if (flow->protocol != IPPROTO_TCP || left < TCP_HEADER || tcp_header(transport) < TCP_HEADER ||
				tcp_header(transport) > left)
			{
				return false;
			}
			this->headers += tcp_header(transport);
			break;
		case VIRTIO_NET_HDR_GSO_UDP_L4:
			if (flow->protocol != IPPROTO_UDP || left < UDP_HEADER)
			{
				return false;
			}
			this->headers += UDP_HEADER;
			break;
		default:
			return false;
	}
	this->size = hdr->gso_size;
	return this->size && !flow->fragment && this->headers < flow->length;
}

size_t split_largest(const splitter_t *this)
{
	size_t payload = this->flow.length - this->headers;

	return this->headers + (payload < this->size ? payload : this->size);
}

size_t split_next(splitter_t *this, uint8_t *segment, size_t room)
{
	size_t left = this->flow.length - this->headers - this->at, here = left < this->size ? left : this->size;
	flow_t flow = this->flow;
	uint8_t *transport = segment + flow.header;

	if (!left || this->headers + here > room)
	{
		return 0;
	}
	memcpy(segment, this->packet, this->headers);
	memcpy(segment + this->headers, this->packet + this->headers + this->at, here);
	this->at += here;
	if (!this->headers)
	{
		return here;
	}
	flow.length = (uint16_t)(this->headers + here);
	if (flow.version == 4)
	{
		put16(segment + 2, flow.length);
		put16(segment + 4, this->id++);
		ip_header_checksum(segment);
	}
	else
	{
		put16(segment + 4, (uint16_t)(flow.length - 40));
	}
	if (flow.protocol == IPPROTO_TCP)
	{
		bool first = this->at == here, last = left == here;

		put32(transport + 4, get32(transport + 4) + (uint32_t)(this->at - here));
		transport[13] &= (uint8_t)~((last ? 0 : TCP_FIN | TCP_PSH) | (first ? 0 : TCP_CWR));
	}
	else
	{
		put16(transport + 4, (uint16_t)(UDP_HEADER + here));
		/* Zero would mean that there is none. */
		put16(transport + 6, 1);
	}
	ip_transport_checksum(segment, &flow);
	return flow.length;
}

/** Bytes of payload of a TCP packet that can be joined with others; 0: it cannot. */
static size_t tcp_payload(const piece_t *piece)
{
	const flow_t *flow = &piece->flow;
	const uint8_t *tcp = piece->packet + flow->header;
	size_t left = flow->length - flow->header, header;

	if (flow->protocol != IPPROTO_TCP || flow->fragment || left < TCP_HEADER ||
		flow->header != (flow->version == 4 ? 20 : 40))
	{
		return 0;
	}
	header = tcp_header(tcp);
	if (header < TCP_HEADER || header >= left || !(tcp[13] & TCP_ACK) ||
		tcp[13] & (TCP_SYN | TCP_RST | TCP_URG | TCP_CWR))
	{
		return 0;
	}
	return left - header;
}

/** A joined packet counts as checked. */
static bool tcp_checksum_is_right(const piece_t *piece)
{
	const flow_t *flow = &piece->flow;
	size_t length = flow->length - flow->header;

	return ip_fold(ip_pseudo_sum(flow, length) + ip_sum(piece->packet + flow->header, length)) == 0xffff;
}

/** A header that was wrong would be right afterwards. */
static bool header_is_right(const piece_t *piece)
{
	return piece->flow.version == 6 || ip_fold(ip_sum(piece->packet, piece->flow.header)) == 0xffff;
}

/** Whether the headers say the same, but for what counts up; `distance` packets lie between them. */
static bool same_headers(const piece_t *a, const piece_t *b, size_t headers, size_t distance)
{
	const uint8_t *x = a->packet, *y = b->packet;
	size_t at = a->flow.header;

	if (a->flow.version != b->flow.version || a->flow.tos != b->flow.tos || a->flow.whole != b->flow.whole ||
		b->flow.header != at || tcp_header(y + at) + at != headers ||
		memcmp(&a->flow.src, &b->flow.src, sizeof(address_t)) || memcmp(&a->flow.dst, &b->flow.dst, sizeof(address_t)))
	{
		return false;
	}
	/* TTL, flags and identification, or flow label and hop limit. */
	if (a->flow.version == 4 ? x[8] != y[8] || (x[6] ^ y[6]) & 0x80 ||
							   (!a->flow.whole && get16(y + 4) != (uint16_t)(get16(x + 4) + distance))
							 : x[7] != y[7] || memcmp(x + 1, y + 1, 3))
	{
		return false;
	}
	/* Ports; what is acknowledged; flags; window; options. */
	return !memcmp(x + at, y + at, 4) && !memcmp(x + at + 8, y + at + 8, 5) &&
		   !((x[at + 13] ^ y[at + 13]) & ~(TCP_FIN | TCP_PSH)) && !memcmp(x + at + 14, y + at + 14, 2) &&
		   !memcmp(x + at + TCP_HEADER, y + at + TCP_HEADER, headers - at - TCP_HEADER);
}

size_t join(piece_t *pieces, size_t count, joined_t *joined)
{
	piece_t *first = &pieces[0], *last;
	size_t size = tcp_payload(first), headers, length = first->flow.length, taken = 1;
	uint8_t *tcp = first->packet + first->flow.header;

	memset(&joined->hdr, 0, sizeof(joined->hdr));
	joined->iov[0] = (struct iovec){&joined->hdr, sizeof(joined->hdr)};
	joined->iov[1] = (struct iovec){first->packet, first->flow.length};
	joined->count = 2;
	if (!size || tcp[13] & (TCP_FIN | TCP_PSH) || count == 1)
	{
		return 1;
	}
	headers = first->flow.length - size;
	while (taken < count && taken < JOIN_MAX)
	{
		piece_t *next = &pieces[taken];
		size_t payload = tcp_payload(next);

		if (!payload || payload > size || length + payload > IP_MAX_PACKET || !same_headers(first, next, headers, taken) || !header_is_right(next) ||
			get32(next->packet + next->flow.header + 4) != get32(tcp + 4) + (uint32_t)(length - headers) ||
			!tcp_checksum_is_right(next) || (taken == 1 && !(header_is_right(first) && tcp_checksum_is_right(first))))
		{
			break;
		}
		joined->iov[joined->count++] = (struct iovec){next->packet + headers, payload};
		length += payload;
		taken++;
		if (payload < size || next->packet[next->flow.header + 13] & (TCP_FIN | TCP_PSH))
		{
			break;
		}
	}
	if (taken == 1)
	{
		return 1;
	}
	last = &pieces[taken - 1];
	tcp[13] |= last->packet[last->flow.header + 13];
	if (first->flow.version == 4)
	{
		put16(first->packet + 2, (uint16_t)length);
		ip_header_checksum(first->packet);
	}
	else
	{
		put16(first->packet + 4, (uint16_t)(length - 40));
	}
	/* The rest of the sum is left to whoever needs it. */
	{
		uint16_t sum = ip_fold(ip_pseudo_sum(&first->flow, length - first->flow.header));

		memcpy(tcp + 16, &sum, sizeof(sum));
	}
	joined->hdr = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = first->flow.version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = (uint16_t)headers,
		.gso_size = (uint16_t)size,
		.csum_start = first->flow.header,
		.csum_offset = 16,
	};
	return taken;
}
