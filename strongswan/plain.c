/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plain.h"

#include "events.h"
#include "spd.h"
#include "tun.h"

#include <ctype.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <processing/jobs/callback_job.h>
#include <stdatomic.h>
#include <threading/mutex.h>

/** Before destinations are translated. */
#define PRIORITY "mangle"

/* The functions of libnftables, which need not be installed: its interface has been the same since its first version. */
static struct {
	void *library;
	void *(*ctx_new)(uint32_t flags);
	void (*ctx_free)(void *ctx);
	int (*ctx_buffer_error)(void *ctx);
	const char *(*ctx_get_error_buffer)(void *ctx);
	int (*run_cmd_from_buffer)(void *ctx, const char *commands);
} nft;

static mutex_t *lock;
static void *ctx;
static char table[64];
static atomic_bool pending;

static bool load(void)
{
	nft.library = dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!nft.library)
	{
		return FALSE;
	}
	*(void**)&nft.ctx_new = dlsym(nft.library, "nft_ctx_new");
	*(void**)&nft.ctx_free = dlsym(nft.library, "nft_ctx_free");
	*(void**)&nft.ctx_buffer_error = dlsym(nft.library, "nft_ctx_buffer_error");
	*(void**)&nft.ctx_get_error_buffer = dlsym(nft.library, "nft_ctx_get_error_buffer");
	*(void**)&nft.run_cmd_from_buffer = dlsym(nft.library, "nft_run_cmd_from_buffer");
	return nft.ctx_new && nft.ctx_free && nft.ctx_buffer_error && nft.ctx_get_error_buffer && nft.run_cmd_from_buffer;
}

/** Runs commands as one transaction. */
static bool run(const char *commands)
{
	const char *said;

	if (nft.run_cmd_from_buffer(ctx, commands) == 0)
	{
		return TRUE;
	}
	said = nft.ctx_get_error_buffer(ctx);
	complain(COMPLAIN_PLAIN, "plain packets from the network are not dropped: nftables: %.*s",
			 (int)strcspn(said ? said : "", "\n"), said ? said : "");
	return FALSE;
}

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

static void write_ports(FILE *to, const char *what, uint16_t low, uint16_t high)
{
	if (low != 0 || high != 0xffff)
	{
		fprintf(to, "th %s %u-%u ", what, low, high);
	}
}

/** One policy; those for single types of ICMP are left out, which the table does not tell apart. */
static void write_rule(FILE *to, const selector_t *selector, policy_type_t type)
{
	bool all_ports = !selector_has_src_ports(selector) && !selector_has_dst_ports(selector);

	if (!all_ports && (selector->protocol == IPPROTO_ICMP || selector->protocol == IPPROTO_ICMPV6))
	{
		return;
	}
	fprintf(to, "\t\t");
	write_address(to, "saddr", selector->version, &selector->src_from, &selector->src_to);
	write_address(to, "daddr", selector->version, &selector->dst_from, &selector->dst_to);
	if (selector->protocol)
	{
		fprintf(to, "meta l4proto %u ", selector->protocol);
	}
	else if (!all_ports)
	{
		fprintf(to, "meta l4proto { tcp, udp, udplite, sctp, dccp } ");
	}
	write_ports(to, "sport", selector->src_port_from, selector->src_port_to);
	write_ports(to, "dport", selector->dst_port_from, selector->dst_port_to);
	fprintf(to, "%s\n", type == POLICY_PASS ? "accept" : "counter drop");
}

static void write_policy(void *context, const selector_t *selector, policy_dir_t dir, policy_type_t type)
{
	/* What is forwarded has a policy of the same kind, which says the same. */
	if (dir == POLICY_IN)
	{
		write_rule(context, selector, type);
	}
}

/** The table as the policies are now. */
static void write_table(FILE *to)
{
	uint16_t ike = charon->socket->get_port(charon->socket, FALSE), nat = charon->socket->get_port(charon->socket, TRUE);

	/* Made before it is deleted, so that it may be missing; all in one transaction. */
	fprintf(to, "table inet %s\ndelete table inet %s\n", table, table);
	fprintf(to, "table inet %s {\n\tchain plain {\n\t\ttype filter hook prerouting priority " PRIORITY "; policy accept;\n", table);
	/* Protected packets first, which are the most: also those of others, which only their receiver can open. */
	fprintf(to, "\t\tmeta l4proto esp accept\n\t\tmeta l4proto ah accept\n");
	fprintf(to, "\t\tiifname { \"lo\", \"%s\" } accept\n", tun_name());
	/* IKE, ESP in UDP, and what finds neighbours. */
	fprintf(to, "\t\tudp dport { %u, %u } fib daddr type local accept\n", ike ?: 500, nat ?: 4500);
	/* Nothing comes of them without their first one. */
	fprintf(to, "\t\tip frag-off & 0x1fff != 0 fib daddr type local accept\n");
	fprintf(to, "\t\tfrag frag-off != 0 fib daddr type local accept\n");
	fprintf(to, "\t\tip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept\n");
	spd_list(write_policy, to);
	fprintf(to, "\t}\n}\n");
}

static job_requeue_t update(void *unused)
{
	char *commands = NULL;
	size_t length = 0;
	FILE *to;

	atomic_store(&pending, false);
	lock->lock(lock);
	to = ctx ? open_memstream(&commands, &length) : NULL;
	if (to)
	{
		write_table(to);
		fclose(to);
		run(commands);
		free(commands);
	}
	lock->unlock(lock);
	return JOB_REQUEUE_NONE;
}

void plain_changed(void)
{
	if (ctx && !atomic_exchange(&pending, true))
	{
		lib->processor->queue_job(lib->processor, (job_t*)callback_job_create_with_prio(update, NULL, NULL,
								  (callback_job_cancel_t)return_false, JOB_PRIO_HIGH));
	}
}

/** Without a table, whatever it is now. */
static bool remove_table(void)
{
	char commands[2 * sizeof(table) + 64];

	snprintf(commands, sizeof(commands), "table inet %s\ndelete table inet %s\n", table, table);
	return run(commands);
}

bool plain_create(void)
{
	size_t length;

	lock = mutex_create(MUTEX_TYPE_DEFAULT);
	if (!lib->settings->get_bool(lib->settings, "%s.plugins.kernel-gipsec.drop_plain", TRUE, lib->ns))
	{
		return TRUE;
	}
	if (!load())
	{
		DBG1(DBG_KNL, "plain packets from the network are not dropped: libnftables.so.1 is not installed");
		return TRUE;
	}
	length = (size_t)snprintf(table, sizeof(table), "gipsec_%s", tun_name());
	for (size_t i = 0; i < length; i++)
	{
		table[i] = isalnum((unsigned char)table[i]) ? table[i] : '_';
	}
	ctx = nft.ctx_new(0);
	if (!ctx || nft.ctx_buffer_error(ctx) || !remove_table())
	{
		DBG1(DBG_KNL, "plain packets from the network are not dropped: there is no nftables here");
		if (ctx)
		{
			nft.ctx_free(ctx);
		}
		ctx = NULL;
	}
	return TRUE;
}

void plain_destroy(void)
{
	if (ctx)
	{
		remove_table();
		nft.ctx_free(ctx);
	}
	ctx = NULL;
	if (nft.library)
	{
		dlclose(nft.library);
		nft.library = NULL;
	}
	lock->destroy(lock);
}
