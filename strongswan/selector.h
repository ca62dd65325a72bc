/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Selectors of policies (RFC 4301 section 4.4.1.1): which packets a policy is for.
 */
#ifndef GIPSEC_SELECTOR_H_
#define GIPSEC_SELECTOR_H_

#include "ip.h"

#include <daemon.h>

/** Addresses, and ports (of ICMP type and code), from the first to the last. */
typedef struct selector_t {
	uint8_t version;
	/** 0: all. */
	uint8_t protocol;
	address_t src_from, src_to, dst_from, dst_to;
	uint16_t src_port_from, src_port_to, dst_port_from, dst_port_to;
} selector_t;

/** From charon's, of both ends. */
selector_t selector_create(traffic_selector_t *src, traffic_selector_t *dst);

/** Whether it is for packets of a flow. */
bool selector_matches(const selector_t *this, const flow_t *flow);

/** Whether packets of a protocol have ports. */
static inline bool protocol_has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
		   protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

/** Whether it is for some ports alone. */
static inline bool selector_has_src_ports(const selector_t *this)
{
	return this->src_port_from != 0 || this->src_port_to != 0xffff;
}

static inline bool selector_has_dst_ports(const selector_t *this)
{
	return this->dst_port_from != 0 || this->dst_port_to != 0xffff;
}

#endif
