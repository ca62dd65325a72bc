/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What was found for the flows of late: a gateway has many policies, and packets that belong together come one after the
 * other. Each thread has a cache of its own, which forgets everything when policies change.
 */
#ifndef GIPSEC_FLOW_CACHE_H_
#define GIPSEC_FLOW_CACHE_H_

#include "ip.h"

typedef struct flow_cache_t flow_cache_t;

/** NULL: there is no memory. */
flow_cache_t *flow_cache_create(void);
void flow_cache_destroy(flow_cache_t *this);

/** Whether two flows are one to policies. */
bool flow_is_same(const flow_t *one, const flow_t *other);

/** Whether it is known what belongs to a flow and an owner; that, or NULL for nothing, is then at `found`. `generation` is
 *  never 0, and another one each time that what was noted before no longer holds. */
bool flow_cache_get(const flow_cache_t *this, uint64_t generation, const flow_t *flow, uint64_t owner, void **found);

/** Notes what was found, in place of something older. */
void flow_cache_put(flow_cache_t *this, uint64_t generation, const flow_t *flow, uint64_t owner, void *found);

#endif
