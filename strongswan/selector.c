/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "selector.h"

static void set_range(traffic_selector_t *ts, address_t *from, address_t *to, uint16_t *port_from, uint16_t *port_to)
{
	chunk_t low = ts->get_from_address(ts), high = ts->get_to_address(ts);

	memset(from, 0, sizeof(*from));
	memset(to, 0, sizeof(*to));
	memcpy(from->bytes, low.ptr, min(low.len, sizeof(*from)));
	memcpy(to->bytes, high.ptr, min(high.len, sizeof(*to)));
	*port_from = ts->get_from_port(ts);
	*port_to = ts->get_to_port(ts);
	if (*port_from > *port_to)
	{
		/* OPAQUE is written as a range that is none: whatever the ports are, or are not. */
		*port_from = 0;
		*port_to = 0xffff;
	}
}

selector_t selector_create(traffic_selector_t *src, traffic_selector_t *dst)
{
	selector_t selector = {
		.version = src->get_type(src) == TS_IPV6_ADDR_RANGE ? 6 : 4,
		.protocol = max(src->get_protocol(src), dst->get_protocol(dst)),
	};

	set_range(src, &selector.src_from, &selector.src_to, &selector.src_port_from, &selector.src_port_to);
	set_range(dst, &selector.dst_from, &selector.dst_to, &selector.dst_port_from, &selector.dst_port_to);
	return selector;
}

static bool is_within(const address_t *address, const address_t *from, const address_t *to)
{
	return memcmp(address, from, sizeof(*address)) >= 0 && memcmp(address, to, sizeof(*address)) <= 0;
}

bool selector_matches(const selector_t *this, const flow_t *flow)
{
	/* A fragment that has no ports fits policies that are for all ports alone. */
	return this->version == flow->version && (!this->protocol || this->protocol == flow->protocol) &&
		   flow->src_port >= this->src_port_from && flow->src_port <= this->src_port_to &&
		   flow->dst_port >= this->dst_port_from && flow->dst_port <= this->dst_port_to &&
		   !(flow->later_fragment && (selector_has_src_ports(this) || selector_has_dst_ports(this))) &&
		   is_within(&flow->src, &this->src_from, &this->src_to) &&
		   is_within(&flow->dst, &this->dst_from, &this->dst_to);
}
