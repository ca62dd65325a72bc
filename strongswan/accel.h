/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The accelerator that all SAs of this charon are in, and how charon's algorithms are called there.
 */
#ifndef GIPSEC_ACCEL_H_
#define GIPSEC_ACCEL_H_

#include <daemon.h>
#include <g_ipsec_la.h>
#include <g_ipsec_la_ext.h>

/** Where an SA is: an accelerator that was lost has other handles than the one after it. */
typedef struct accel_sa_t {
	g_ipsec_la_handle accelerator;
	g_ipsec_la_sa_handle sa;
} accel_sa_t;

/** Opens the accelerator that the settings name. `lost` is called, by a thread of the library, when it has gone;
 *  `worn_out` when the sequence numbers of an outbound SA are running out. */
bool accel_open(void (*lost)(void), void (*worn_out)(const g_ipsec_la_sa_handle *sa));

/** Opens it again after it was lost, or the software accelerator when the settings allow that. */
bool accel_reopen(void);
/** Logs which one it is. */
void accel_say(void);

void accel_close(void);

/** Adds an SA. */
status_t accel_add(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data, accel_sa_t *sa);

/** Tells an SA of its new addresses. */
status_t accel_move(const accel_sa_t *sa, bool inbound, host_t *src, host_t *dst);

/** Whether an SA is in the accelerator that is open now: one that was lost takes its SAs along. */
bool accel_has(const accel_sa_t *sa);

void accel_delete(const accel_sa_t *sa, bool inbound);

/** The largest packet that an outbound SA makes into at most `outer` bytes; 0: none. */
uint32_t accel_inner_mtu(const accel_sa_t *sa, uint32_t outer);

/** Why a call failed, for a log line. */
const char *accel_error(void);

#endif
