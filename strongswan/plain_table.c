/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plain_table.h"

#include "spd.h"
#include "tun.h"

#include <netinet/in.h>

/** Before destinations are translated. */
#define PRIORITY "mangle"

static void write_address(FILE *to, const char *what, uint8_t version, const address_t *low, const address_t *high)
{
	int family = version == 4 ? AF_INET : AF_INET6;
	char from[INET6_ADDRSTRLEN] = "", until[INET6_ADDRSTRLEN] = "";

	inet_ntop(family, low->bytes, from, sizeof(from));
	inet_ntop(family, high->bytes, until, sizeof(until));
	if (streq(from, until))
	{
		fprintf(to, "%s %s %s ", version == 4 ? "ip" : "ip6", what, from);
	}
	else
	{
		fprintf(to, "%s %s %s-%s ", version == 4 ? "ip" : "ip6", what, from, until);
	}
}

static void write_host(FILE *to, const char *what, host_t *host)
{
	address_t address = {{0}};
	chunk_t bytes = host->get_address(host);

	memcpy(address.bytes, bytes.ptr, min(bytes.len, sizeof(address.bytes)));
	write_address(to, what, host->get_family(host) == AF_INET ? 4 : 6, &address, &address);
}

static void write_ports(FILE *to, const char *what, uint16_t low, uint16_t high)
{
	if (low != 0 || high != 0xffff)
	{
		fprintf(to, "%s %u-%u ", what, low, high);
	}
}

/** One policy. */
static void write_rule(FILE *to, const selector_t *selector, policy_type_t type)
{
	bool has_ports = selector_has_src_ports(selector) || selector_has_dst_ports(selector);
	bool is_icmp = selector->protocol == IPPROTO_ICMP || selector->protocol == IPPROTO_ICMPV6;

	if (has_ports && selector->protocol && !is_icmp && !protocol_has_ports(selector->protocol))
	{
		/* It is for nothing. */
		return;
	}
	fprintf(to, "\t\t");
	write_address(to, "saddr", selector->version, &selector->src_from, &selector->src_to);
	write_address(to, "daddr", selector->version, &selector->dst_from, &selector->dst_to);
	if (selector->protocol)
	{
		fprintf(to, "meta l4proto %u ", selector->protocol);
	}
	else if (has_ports)
	{
		fprintf(to, "meta l4proto { tcp, udp, udplite, sctp, dccp } ");
	}
	/* Of ICMP, type and code are in the place of both. */
	write_ports(to, is_icmp ? "@th,0,16" : "th sport", selector->src_port_from, selector->src_port_to);
	write_ports(to, is_icmp ? "@th,0,16" : "th dport", selector->dst_port_from, selector->dst_port_to);
	fprintf(to, "%s\n", type == POLICY_PASS ? "accept" : "counter drop");
}

/** What is written of the policies. */
typedef struct writing_t {
	FILE *to;
	/** Hosts that the last policy was between. */
	host_t *src, *dst;
} writing_t;

/** UDP packets between hosts that have an SA may be cut; what is behind the first fragment has no ports. */
static void write_hosts(void *context, const selector_t *selector, policy_dir_t dir, policy_type_t type, host_t *src,
						host_t *dst)
{
	writing_t *this = context;
	const char *fragment = "frag frag-off != 0";

	if (dir != POLICY_IN || type != POLICY_IPSEC || !src || !dst || src->is_anyaddr(src) || dst->is_anyaddr(dst) ||
		(this->src && src->ip_equals(src, this->src) && dst->ip_equals(dst, this->dst)))
	{
		return;
	}
	this->src = src;
	this->dst = dst;
	if (src->get_family(src) == AF_INET)
	{
		fragment = "ip frag-off & 0x1fff != 0";
	}
	fprintf(this->to, "\t\t");
	write_host(this->to, "saddr", src);
	write_host(this->to, "daddr", dst);
	fprintf(this->to, "meta l4proto udp %s accept\n", fragment);
}

static void write_policy(void *context, const selector_t *selector, policy_dir_t dir, policy_type_t type, host_t *src,
						 host_t *dst)
{
	/* What is forwarded has a policy of the same kind, which says the same. */
	if (dir == POLICY_IN)
	{
		write_rule(((writing_t*)context)->to, selector, type);
	}
}

void plain_write(FILE *to, const char *table)
{
	uint16_t ike = charon->socket->get_port(charon->socket, FALSE), nat = charon->socket->get_port(charon->socket, TRUE);
	writing_t writing = {.to = to};
	unsigned tun = tun_index();

	/* Made before it is deleted, so that it may be missing; all in one transaction. */
	fprintf(to, "table inet %s\ndelete table inet %s\n", table, table);
	fprintf(to, "table inet %s {\n\tchain plain {\n\t\ttype filter hook prerouting priority " PRIORITY "; policy accept;\n", table);
	/* Protected packets first, which are the most: also those of others, which only their receiver can open. */
	fprintf(to, "\t\tmeta l4proto esp accept\n\t\tmeta l4proto ah accept\n\t\tiifname \"lo\" accept\n");
	if (tun)
	{
		fprintf(to, "\t\tiif %u accept\n", tun);
	}
	/* IKE, ESP in UDP, what routers say of a path's MTU, and what finds neighbours. */
	fprintf(to, "\t\tudp dport { %u, %u } fib daddr type local accept\n", ike ?: 500, nat ?: 4500);
	fprintf(to, "\t\ticmp type destination-unreachable icmp code frag-needed fib daddr type local accept\n");
	fprintf(to, "\t\ticmpv6 type packet-too-big fib daddr type local accept\n");
	fprintf(to, "\t\tip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept\n");
	spd_list(write_hosts, &writing);
	spd_list(write_policy, &writing);
	fprintf(to, "\t}\n}\n");
}
