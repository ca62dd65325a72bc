/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ipsec.h"

#include "sad.h"
#include "sockets.h"
#include "spd.h"

static kernel_feature_t get_features(kernel_ipsec_t *this)
{
	kernel_feature_t features = KERNEL_ESP_V3_TFC | KERNEL_POLICY_SPI | GIPSEC_SA_USE_TIME;

	if (lib->settings->get_bool(lib->settings, "%s.plugins.kernel-gipsec.force_udp", FALSE, lib->ns))
	{
		features |= KERNEL_REQUIRE_UDP_ENCAPSULATION;
	}
	return features;
}

static status_t get_spi(kernel_ipsec_t *this, host_t *src, host_t *dst, uint8_t protocol, uint32_t *spi)
{
	return sad_reserve(protocol, spi);
}

static status_t get_cpi(kernel_ipsec_t *this, host_t *src, host_t *dst, uint16_t *cpi)
{
	return sad_reserve_cpi(cpi);
}

static status_t add_sa(kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	return sad_add(id, data);
}

static status_t update_sa(kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data)
{
	return sad_update(id, data);
}

static status_t query_sa(kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_query_sa_t *data,
						 uint64_t *bytes, uint64_t *packets, time_t *used)
{
	return sad_query(id, bytes, packets, used);
}

static status_t del_sa(kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_del_sa_t *data)
{
	return sad_delete(id, data->cpi);
}

static status_t flush_sas(kernel_ipsec_t *this)
{
	sad_flush();
	return SUCCESS;
}

static status_t add_policy(kernel_ipsec_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	return spd_add(id, data);
}

static status_t query_policy(kernel_ipsec_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_query_policy_t *data,
							 time_t *used)
{
	return spd_query(id, used);
}

static status_t del_policy(kernel_ipsec_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	return spd_delete(id, data);
}

static status_t flush_policies(kernel_ipsec_t *this)
{
	spd_flush();
	return SUCCESS;
}

static bool bypass_socket(kernel_ipsec_t *this, int fd, int family)
{
	return sockets_bypass(fd);
}

static bool enable_udp_decap(kernel_ipsec_t *this, int fd, int family, uint16_t port)
{
	return sockets_share(fd, family, port);
}

static void destroy(kernel_ipsec_t *this)
{
	free(this);
}

kernel_ipsec_t *kernel_gipsec_ipsec_create(void)
{
	kernel_ipsec_t *this;

	INIT(this,
		.get_features = get_features,
		.get_spi = get_spi,
		.get_cpi = get_cpi,
		.add_sa = add_sa,
		.update_sa = update_sa,
		.query_sa = query_sa,
		.del_sa = del_sa,
		.flush_sas = flush_sas,
		.add_policy = add_policy,
		.query_policy = query_policy,
		.del_policy = del_policy,
		.flush_policies = flush_policies,
		.bypass_socket = bypass_socket,
		.enable_udp_decap = enable_udp_decap,
		.destroy = destroy,
	);
	return this;
}
