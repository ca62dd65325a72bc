/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * IP packets as far as policies, segments and path MTUs need them. Nothing here trusts a length or an offset of a packet.
 */
#ifndef GIPSEC_IP_H_
#define GIPSEC_IP_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes of the longest IP packet. */
#define IP_MAX_PACKET 65535

/** An address; of IPv4 the first four bytes, and zeros. */
typedef struct address_t {
	uint8_t bytes[16];
} address_t;

/** What a policy looks at. */
typedef struct flow_t {
	address_t src, dst;
	/** Host order; of ICMP type and code, both in each; 0 of what has no ports. */
	uint16_t src_port, dst_port;
	/** 4 or 6. */
	uint8_t version;
	/** The first header that is none of IPv6's extension headers. */
	uint8_t protocol;
	/** Traffic class: DSCP and ECN. */
	uint8_t tos;
	/** Must not be fragmented: IPv6, or IPv4 with DF. */
	bool whole;
	/** A fragment but the first one: no ports are there. */
	bool later_fragment;
	/** A fragment, the first one included. */
	bool fragment;
	/** Bytes before the transport header, and in all. */
	uint16_t header, length;
} flow_t;

/** Reads a packet's headers; false: not one IP packet of exactly `length` bytes. */
bool ip_parse(const uint8_t *packet, size_t length, flow_t *flow);

/** The one's complement sum of bytes, to be added to others with an even number of bytes before them; not folded. */
uint64_t ip_sum(const uint8_t *bytes, size_t length);

/** Folds a sum to 16 bits, as they are stored; not complemented. */
uint16_t ip_fold(uint64_t sum);

/** Sum of the pseudo header for `length` bytes of transport header and payload. */
uint64_t ip_pseudo_sum(const flow_t *flow, size_t length);

/** Makes the checksum of an IPv4 header right. */
void ip_header_checksum(uint8_t *packet);

/** Makes the checksum of a whole TCP, UDP or ICMPv6 packet right. */
void ip_transport_checksum(uint8_t *packet, const flow_t *flow);

/** Replaces the DSCP of a packet, and leaves its ECN alone. */
void ip_set_dscp(uint8_t *packet, uint8_t tos);

/** Makes the ICMP error "fragmentation needed", or "packet too big", for a packet: `mtu` is the largest that would do.
 *  `answer` has room for 1,280 bytes. Returns its length; 0: for this packet none may be sent (RFC 1122, RFC 4443). */
size_t ip_too_big(const uint8_t *packet, const flow_t *flow, uint32_t mtu, uint8_t *answer);

/** Traffic class of a packet whose header is there: DSCP and ECN. */
static inline uint8_t ip_tos(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? packet[1] : (uint8_t)(packet[0] << 4 | packet[1] >> 4);
}

/** 16 and 32 bits in network order. */
static inline uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static inline uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static inline void put16(uint8_t *at, uint16_t value) { at[0] = (uint8_t)(value >> 8); at[1] = (uint8_t)value; }
static inline void put32(uint8_t *at, uint32_t value) { put16(at, (uint16_t)(value >> 16)); put16(at + 2, (uint16_t)value); }

#endif
