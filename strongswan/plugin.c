/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The plugin kernel-gipsec of charon: IPsec in libgipsec instead of the kernel.
 */
#include "accel.h"
#include "events.h"
#include "ipsec.h"
#include "plain.h"
#include "routes.h"
#include "sad.h"
#include "sockets.h"
#include "spd.h"
#include "tun.h"
#include "workers.h"

#include <processing/jobs/callback_job.h>
#include <net/if.h>
#include <stddef.h>
#include <unistd.h>

#define SETTING "%s.plugins.kernel-gipsec."
/** Unless kernel-netlink's settings name another one. */
#define BYPASS_MARK 0x67697000

/* A charon with other structures would read ours wrongly. Of daemon_t these are used, before what differs in one with mediation. */
_Static_assert(offsetof(daemon_t, socket) == 0 && offsetof(daemon_t, kernel) == sizeof(void*),
			   "daemon_t begins with other members than the plugin knows");
_Static_assert(sizeof(kernel_ipsec_t) == 15 * sizeof(void*), "kernel_ipsec_t has other functions than the plugin knows");

#if GIPSEC_HAS_PLUGIN_VERSION
/** Asked for by the loader, which reads a pointer. */
__attribute__((visibility("default")))
const char *kernel_gipsec_plugin_version = STRONGSWAN_VERSION;
#endif

/** Seconds between two attempts to open an accelerator that was lost. */
#define OPEN_AGAIN 1

typedef struct kernel_gipsec_plugin_t {
	plugin_t public;
	/** Whether charon uses it, and the threads run. */
	bool registered, workers;
} kernel_gipsec_plugin_t;

static job_requeue_t replace_accelerator(void *unused)
{
	if (!accel_reopen())
	{
		complain(COMPLAIN_DEVICE, "there is no accelerator: packets are dropped until there is one again");
		return JOB_RESCHEDULE(OPEN_AGAIN);
	}
	DBG1(DBG_KNL, "the accelerator has lost all SAs: they are negotiated anew");
	sad_replace_all();
	return JOB_REQUEUE_NONE;
}

/** Called by a thread of libgipsec. */
static void on_lost(void)
{
	DBG1(DBG_KNL, "the accelerator is gone");
	lib->processor->queue_job(lib->processor, (job_t*)callback_job_create(replace_accelerator, NULL, NULL, NULL));
}

/** charon has one kernel-ipsec: that of the plugin which comes first. */
static bool register_ipsec(kernel_gipsec_plugin_t *this, plugin_feature_t *feature, bool reg, void *unused)
{
	bool done = kernel_ipsec_register(&this->public, feature, reg, kernel_gipsec_ipsec_create);

	this->registered = reg && done;
	if (reg && !done)
	{
		DBG1(DBG_KNL, "kernel-gipsec carries nothing: another plugin is charon's kernel-ipsec, name kernel-gipsec before it");
	}
	if (this->registered)
	{
		accel_say();
	}
	return done;
}

static bool start_workers(kernel_gipsec_plugin_t *this, plugin_feature_t *feature, bool reg, void *unused)
{
	if (!reg)
	{
		if (this->workers)
		{
			workers_destroy();
		}
		this->workers = FALSE;
		return TRUE;
	}
	if (!this->registered)
	{
		return FALSE;
	}
	this->workers = workers_create(
		(size_t)max(1, lib->settings->get_int(lib->settings, SETTING "workers", 1, lib->ns)),
		(unsigned)lib->settings->get_int(lib->settings, SETTING "mtu", 1400, lib->ns));
	return this->workers;
}

static char *get_name(plugin_t *this)
{
	return "kernel-gipsec";
}

static int get_features(plugin_t *this, plugin_feature_t *features[])
{
	static plugin_feature_t f[] = {
		PLUGIN_CALLBACK((plugin_feature_callback_t)register_ipsec, NULL),
			PLUGIN_PROVIDE(CUSTOM, "kernel-ipsec"),
		PLUGIN_CALLBACK((plugin_feature_callback_t)start_workers, NULL),
			PLUGIN_PROVIDE(CUSTOM, "kernel-gipsec-workers"),
				PLUGIN_DEPENDS(CUSTOM, "kernel-ipsec"),
	};

	*features = f;
	return countof(f);
}

static void destroy(plugin_t *public)
{
	plain_destroy();
	spd_destroy();
	sad_destroy();
	routes_destroy();
	sockets_destroy();
	tun_destroy();
	accel_close();
	free(public);
}

/** Whether a value is of the setting's kind: charon would take the default for it, without a word. */
static bool is_right(char *key, char *value)
{
	static const char *numbers[] = {"mtu", "workers"}, *choices[] = {"fallback", "force_udp", "unreachable", "drop_plain"};

	for (int i = 0; i < countof(numbers); i++)
	{
		if (streq(key, numbers[i]) && settings_value_as_int(value, 0) != settings_value_as_int(value, 1))
		{
			DBG1(DBG_KNL, "%s of kernel-gipsec is \"%s\", and has to be a number", key, value);
			return FALSE;
		}
	}
	for (int i = 0; i < countof(choices); i++)
	{
		if (streq(key, choices[i]) && settings_value_as_bool(value, FALSE) != settings_value_as_bool(value, TRUE))
		{
			DBG1(DBG_KNL, "%s of kernel-gipsec is \"%s\", and has to be yes or no", key, value);
			return FALSE;
		}
	}
	if (streq(key, "tun") && strlen(value) >= IFNAMSIZ)
	{
		DBG1(DBG_KNL, "tun of kernel-gipsec is \"%s\", and has to be shorter than %d characters", value, IFNAMSIZ);
		return FALSE;
	}
	return TRUE;
}

/** Settings out of bounds are said, and the plugin does not load: half of what was wanted is worse. */
static bool check_settings(void)
{
	int mtu = lib->settings->get_int(lib->settings, SETTING "mtu", 1400, lib->ns);
	int workers = lib->settings->get_int(lib->settings, SETTING "workers", 1, lib->ns);
	static const char *known[] = {"load", "accelerator", "fallback", "socket_dir", "mtu", "workers", "tun", "force_udp",
								  "unreachable", "drop_plain", "allow_peer_ts"};
	enumerator_t *enumerator;
	char *key, *value;
	bool right = TRUE;

	enumerator = lib->settings->create_key_value_enumerator(lib->settings, "%s.plugins.kernel-gipsec", lib->ns);
	while (enumerator->enumerate(enumerator, &key, &value))
	{
		bool found = FALSE;

		for (int i = 0; i < countof(known); i++)
		{
			found = found || streq(key, known[i]);
		}
		if (!found)
		{
			DBG1(DBG_KNL, "kernel-gipsec has no setting \"%s\"", key);
		}
		right = is_right(key, value) && right;
	}
	enumerator->destroy(enumerator);
	if (mtu < 576 || mtu > 65535)
	{
		DBG1(DBG_KNL, "mtu of kernel-gipsec is %d, and has to be 576 to 65535", mtu);
		right = FALSE;
	}
	if (workers < 1 || workers > 64)
	{
		DBG1(DBG_KNL, "workers of kernel-gipsec is %d, and has to be 1 to 64", workers);
		right = FALSE;
	}
	return right;
}

/** The mark of what goes past policies: charon's routes are for packets that do not have it, so that what we send does not
 *  come back to us. False: they are for something else. */
static bool get_mark(uint32_t *value)
{
	char ours[32], *fwmark;
	mark_t mark;

	snprintf(ours, sizeof(ours), "!0x%x", BYPASS_MARK);
	lib->settings->set_default_str(lib->settings, "%s.plugins.kernel-netlink.fwmark", ours, lib->ns);
	fwmark = lib->settings->get_str(lib->settings, "%s.plugins.kernel-netlink.fwmark", ours, lib->ns);
	if (fwmark[0] != '!' || !mark_from_string(fwmark + 1, MARK_OP_NONE, &mark) || !mark.value)
	{
		DBG1(DBG_KNL, "kernel-netlink.fwmark is \"%s\", and has to be like \"%s\" for kernel-gipsec: routes for all packets "
			 "but those with a mark", fwmark, ours);
		return FALSE;
	}
	*value = mark.value;
	return TRUE;
}

__attribute__((visibility("default")))
plugin_t *kernel_gipsec_plugin_create(void)
{
	kernel_gipsec_plugin_t *this;
	size_t workers;
	unsigned mtu;
	uint32_t mark;

	if (!lib->caps->check(lib->caps, CAP_NET_ADMIN))
	{
		DBG1(DBG_KNL, "kernel-gipsec needs CAP_NET_ADMIN, for its TUN device and for routes");
		return NULL;
	}
	if (!check_settings() || !get_mark(&mark))
	{
		return NULL;
	}
	workers = (size_t)lib->settings->get_int(lib->settings, SETTING "workers", 1, lib->ns);
	mtu = (unsigned)lib->settings->get_int(lib->settings, SETTING "mtu", 1400, lib->ns);

	if (!accel_open(on_lost, sad_worn_out))
	{
		accel_close();
		return NULL;
	}
	if (!tun_create(workers, mtu))
	{
		accel_close();
		return NULL;
	}
	if (!sockets_create(workers, mark))
	{
		sockets_destroy();
		tun_destroy();
		accel_close();
		return NULL;
	}
	sad_create();
	routes_create();
	spd_create();
	plain_create();

	lib->settings->set_default_str(lib->settings, "%s.install_virtual_ip_on", tun_name(), lib->ns);

	INIT(this,
		.public = {
			.get_name = get_name,
			.get_features = get_features,
			.destroy = destroy,
		},
	);
	return &this->public;
}
