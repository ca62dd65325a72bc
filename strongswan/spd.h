/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The security policy database: what is protected, what passes, what is dropped (RFC 4301 section 4.4.1).
 */
#ifndef GIPSEC_SPD_H_
#define GIPSEC_SPD_H_

#include "flow_cache.h"
#include "sad.h"
#include "selector.h"

/** What becomes of an outbound packet. */
typedef enum verdict_t {
	/** Nobody has said anything about it. */
	SPD_NONE,
	SPD_PASS,
	SPD_DROP,
	/** With the SA that was taken. */
	SPD_PROTECT,
	/** There is no SA yet: charon was asked for one. */
	SPD_WAIT,
} verdict_t;

bool spd_create(void);
void spd_destroy(void);

status_t spd_add(kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data);
status_t spd_delete(kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data);
status_t spd_query(kernel_ipsec_policy_id_t *id, time_t *used);
void spd_flush(void);

/** Decides about an outbound packet. The cache is the thread's. */
verdict_t spd_outbound(flow_cache_t *cache, const flow_t *flow, sa_use_t *use);

/** Whether packets that came out of an SA may be these; as many answers as flows. */
void spd_inbound(flow_cache_t *cache, const sa_use_t *use, const flow_t *flows[], size_t count, bool allowed[]);

/** Shows all policies, in the order in which they are looked at; between which hosts they are, or NULL. */
void spd_list(void (*show)(void *context, const selector_t *selector, policy_dir_t dir, policy_type_t type, host_t *src,
						   host_t *dst), void *context);

#endif
