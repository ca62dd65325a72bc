/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "accel.h"

#include "algorithms.h"
#include "tun.h"

#include <daemon.h>
#include <errno.h>
#include <threading/mutex.h>

#define SETTING "%s.plugins.kernel-gipsec."
/** The software accelerator that every process has. */
#define SOFTWARE "soft0"

static g_ipsec_la_handle accelerator;
static bool is_open;
/** Its name. */
static char opened[64];
static mutex_t *lock;
static void (*on_lost)(void);
static void (*on_worn_out)(const g_ipsec_la_sa_handle *sa);

static const g_ipsec_la_resp_args no_answer;

static void broken(g_ipsec_la_handle *handle, void *unused)
{
	on_lost();
}

static void worn_out(g_ipsec_la_handle handle, struct g_ipsec_seq_number_notification *in)
{
	on_worn_out(in->sa_handle);
}

const char *accel_error(void)
{
	return g_ipsec_la_ext_last_error();
}

static bool open_one(char *name)
{
	g_ipsec_la_open_inargs in = {.accl_name = name, .app_identity = "charon", .cb_fn = broken};
	g_ipsec_la_open_outargs out = {.handle = &accelerator};
	g_ipsec_la_notification_hooks hooks = {.seq_num_overflow_fn = worn_out};

	if (g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out) != 0)
	{
		DBG1(DBG_KNL, "accelerator %s cannot be opened: %s", name, accel_error());
		return FALSE;
	}
	if (g_ipsec_la_notification_hooks_register(accelerator, &hooks) != 0)
	{
		DBG1(DBG_KNL, "accelerator %s takes no notifications: %s", name, accel_error());
	}
	is_open = TRUE;
	snprintf(opened, sizeof(opened), "%s", name);
	return TRUE;
}

static bool open_configured(void)
{
	char *name = lib->settings->get_str(lib->settings, SETTING "accelerator", SOFTWARE, lib->ns);

	if (open_one(name))
	{
		return TRUE;
	}
	return !streq(name, SOFTWARE) && lib->settings->get_bool(lib->settings, SETTING "fallback", TRUE, lib->ns) &&
		   open_one(SOFTWARE);
}

bool accel_open(void (*lost)(void), void (*worn)(const g_ipsec_la_sa_handle *sa))
{
	char *sockets = lib->settings->get_str(lib->settings, SETTING "socket_dir", NULL, lib->ns);

	if (sockets)
	{
		setenv("G_IPSEC_LA_SOCKET_DIR", sockets, 1);
	}
	on_lost = lost;
	on_worn_out = worn;
	lock = mutex_create(MUTEX_TYPE_DEFAULT);
	return open_configured();
}

static void close_it(void)
{
	if (is_open)
	{
		is_open = FALSE;
		g_ipsec_la_close(&accelerator);
	}
}

void accel_say(void)
{
	DBG1(DBG_KNL, "packets are processed by accelerator %s", opened);
}

bool accel_reopen(void)
{
	bool done;

	lock->lock(lock);
	close_it();
	done = open_configured();
	lock->unlock(lock);
	if (done)
	{
		accel_say();
	}
	return done;
}

bool accel_has(const accel_sa_t *sa)
{
	bool has;

	lock->lock(lock);
	has = is_open && memeq(&sa->accelerator, &accelerator, sizeof(accelerator));
	lock->unlock(lock);
	return has;
}

void accel_close(void)
{
	close_it();
	DESTROY_IF(lock);
	lock = NULL;
}

static g_ip_addr address_of(host_t *host)
{
	chunk_t bytes = host->get_address(host);
	g_ip_addr address = {.version = bytes.len == 4 ? G_IPSEC_LA_IPV4 : G_IPSEC_LA_IPV6};

	memcpy(bytes.len == 4 ? (void*)&address.ipv4 : (void*)&address.ipv6, bytes.ptr, bytes.len);
	return address;
}

static int flags_of(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	int flags = 0;

	if (data->mode == MODE_TRANSPORT)
	{
		flags |= G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
	}
	if (data->esn)
	{
		flags |= G_IPSEC_LA_SA_USE_ESN;
	}
	if (data->copy_ecn)
	{
		flags |= G_IPSEC_LA_SA_USE_ECN;
	}
	if (id->dst->get_family(id->dst) == AF_INET6)
	{
		flags |= G_IPSEC_LA_SA_USE_IPv6;
	}
	if (data->inbound && data->replay_window)
	{
		flags |= G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
	}
	if (!data->inbound)
	{
		flags |= G_IPSEC_LA_NOTIFY_SEQNUM_OVERFLOW;
	}
	return flags;
}

/** The entry of ESP or AH. */
static void set_security(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data, g_ipsec_la_sa *sa,
						 g_ipsec_la_ext_sa_options *options)
{
	sa->spi = ntohl(id->spi);
	sa->proto = id->proto;
	sa->cmn_flags = flags_of(id, data);
	sa->te_addr = (g_ipsec_la_tunnel_end_addr){address_of(id->src), address_of(id->dst)};
	if (data->inbound)
	{
		options->anti_replay_window_size = min(data->replay_window, 65536);
		if (data->copy_ecn)
		{
			sa->inb.flags = G_IPSEC_INB_SA_PROPOGATE_ECN;
		}
		return;
	}
	sa->outb.df_bit_handle = data->copy_df ? G_IPSEC_LA_DF_COPY : G_IPSEC_LA_DF_CLEAR;
	sa->outb.dscp_handle = data->copy_dscp == DSCP_COPY_OUT_ONLY || data->copy_dscp == DSCP_COPY_YES ?
						   G_IPSEC_LA_DSCP_COPY : G_IPSEC_LA_DSCP_CLEAR;
	if (data->tfc && data->mode == MODE_TUNNEL && id->proto == IPPROTO_ESP)
	{
		/* charon asks for "the MTU" with all bits. */
		uint32_t mtu = tun_mtu();

		options->tfc_pad_to = min(data->tfc, mtu);
	}
}

/** IPComp around which ESP is in transport mode: the same packets as Linux makes. */
static bool set_compression(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data, g_ipsec_la_sa *inner,
							g_ipsec_la_sa *outer)
{
	switch (data->ipcomp)
	{
		case IPCOMP_DEFLATE:
			inner->ipcomp_info.algo = G_IPSEC_LA_IPCOMP_DEFLATE;
			break;
		case IPCOMP_LZS:
			inner->ipcomp_info.algo = G_IPSEC_LA_IPCOMP_LZS;
			break;
		default:
			DBG1(DBG_KNL, "no accelerator has the compression algorithm %N", ipcomp_transform_names, data->ipcomp);
			return FALSE;
	}
	inner->proto = G_IPSEC_LA_PROTOCOL_IPCOMP;
	inner->ipcomp_info.cpi = ntohs(data->cpi);
	inner->cmn_flags = outer->cmn_flags & (G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE | G_IPSEC_LA_SA_USE_IPv6 |
										   G_IPSEC_LA_SA_USE_ECN);
	inner->te_addr = outer->te_addr;
	if (data->inbound)
	{
		inner->inb.flags = outer->inb.flags;
	}
	else
	{
		inner->outb.df_bit_handle = outer->outb.df_bit_handle;
		inner->outb.dscp_handle = outer->outb.dscp_handle;
	}
	outer->cmn_flags = outer->cmn_flags | G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
	return TRUE;
}

status_t accel_add(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data, accel_sa_t *sa)
{
	/* Compression comes first, if any. */
	g_ipsec_la_sa entries[2] = {{0}};
	g_ipsec_la_ext_sa_options options[2] = {{.size = sizeof(options[0])}, {.size = sizeof(options[0])}};
	g_ipsec_la_sa_add_inargs in = {
		.dir = data->inbound ? G_IPSEC_LA_SA_INBOUND : G_IPSEC_LA_SA_OUTBOUND,
		.num_sas = 1,
		.sa_params = &entries[1],
	};
	g_ipsec_la_sa_add_outargs out;
	g_ipsec_la_ext_sa_options *first = &options[1];
	keys_t keys;
	int32_t result;
	status_t status = FAILED;

	set_security(id, data, &entries[1], &options[1]);
	if (data->ipcomp != IPCOMP_NONE)
	{
		if (!set_compression(id, data, &entries[0], &entries[1]))
		{
			return NOT_SUPPORTED;
		}
		/* Only tunnels are padded. */
		options[1].tfc_pad_to = 0;
		in.num_sas = 2;
		in.sa_params = entries;
		first = options;
	}
	if (!algorithms_get(data, &keys, &entries[1].crypto_params, &options[1]))
	{
		memwipe(&keys, sizeof(keys));
		return NOT_SUPPORTED;
	}
	lock->lock(lock);
	result = g_ipsec_la_ext_sa_add(&accelerator, &in, first, 0, &out, no_answer);
	if (result == 0)
	{
		*sa = (accel_sa_t){.accelerator = accelerator, .sa = out.sa_handle};
		status = SUCCESS;
	}
	lock->unlock(lock);
	memwipe(&keys, sizeof(keys));
	if (status != SUCCESS)
	{
		DBG1(DBG_KNL, "SA %.8x cannot be added: %s", ntohl(id->spi), accel_error());
		status = result == -ENOTSUP ? NOT_SUPPORTED : FAILED;
	}
	return status;
}

status_t accel_move(const accel_sa_t *sa, bool inbound, host_t *src, host_t *dst)
{
	g_ipsec_la_handle handle = sa->accelerator;
	g_ipsec_la_sa_handle sa_handle = sa->sa;
	g_ipsec_la_sa_modify_outargs out;
	struct {
		g_ipsec_la_sa_modify_flags flags;
		host_t *host;
	} ends[] = {
		{G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, inbound ? dst : src},
		{G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO, inbound ? src : dst},
	};

	for (int i = 0; i < countof(ends); i++)
	{
		g_ipsec_la_sa_mod_inargs in = {
			.dir = inbound ? G_IPSEC_LA_SA_INBOUND : G_IPSEC_LA_SA_OUTBOUND,
			.handle = &sa_handle,
			.flags = ends[i].flags,
			.addr_info = {.addr = address_of(ends[i].host)},
		};

		if (g_ipsec_la_sa_mod(&handle, &in, 0, &out, no_answer) != 0)
		{
			DBG1(DBG_KNL, "an SA cannot be moved: %s", accel_error());
			return FAILED;
		}
	}
	return SUCCESS;
}

void accel_delete(const accel_sa_t *sa, bool inbound)
{
	g_ipsec_la_handle handle = sa->accelerator;
	g_ipsec_la_sa_handle sa_handle = sa->sa;
	g_ipsec_la_sa_del_inargs in = {
		.dir = inbound ? G_IPSEC_LA_SA_INBOUND : G_IPSEC_LA_SA_OUTBOUND,
		.handle = &sa_handle,
	};
	g_ipsec_la_sa_del_outargs out;

	/* An accelerator that was lost took it along. */
	g_ipsec_la_sa_del(&handle, &in, 0, &out, no_answer);
}

uint32_t accel_inner_mtu(const accel_sa_t *sa, uint32_t outer)
{
	g_ipsec_la_handle handle = sa->accelerator;
	g_ipsec_la_sa_handle sa_handle = sa->sa;
	int32_t inner = g_ipsec_la_ext_inner_mtu(&handle, &sa_handle, outer);

	return inner > 0 ? (uint32_t)inner : 0;
}
