/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plain.h"

#include "events.h"
#include "plain_table.h"
#include "tun.h"

#include <ctype.h>
#include <dlfcn.h>
#include <net/if.h>
#include <processing/jobs/callback_job.h>
#include <stdatomic.h>
#include <threading/mutex.h>

/** Seconds after which the table is looked for: others may empty all of them. */
#define LOOK_AGAIN 3
/** What the tables of charons are called before the TUN device's name. */
#define PREFIX "gipsec_"

/* The functions of libnftables, which need not be installed: its interface has been the same since its first version. */
static struct {
	void *library;
	void *(*ctx_new)(uint32_t flags);
	void (*ctx_free)(void *ctx);
	int (*ctx_buffer_error)(void *ctx);
	const char *(*ctx_get_error_buffer)(void *ctx);
	int (*ctx_buffer_output)(void *ctx);
	const char *(*ctx_get_output_buffer)(void *ctx);
	int (*run_cmd_from_buffer)(void *ctx, const char *commands);
} nft;

static mutex_t *lock;
static void *ctx;
static char table[64];
static atomic_bool pending;
/** The table is not what it should be: it could not be written. */
static bool stale = TRUE;

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
	*(void**)&nft.ctx_buffer_output = dlsym(nft.library, "nft_ctx_buffer_output");
	*(void**)&nft.ctx_get_output_buffer = dlsym(nft.library, "nft_ctx_get_output_buffer");
	*(void**)&nft.run_cmd_from_buffer = dlsym(nft.library, "nft_run_cmd_from_buffer");
	return nft.ctx_new && nft.ctx_free && nft.ctx_buffer_error && nft.ctx_get_error_buffer &&
		   nft.ctx_buffer_output && nft.ctx_get_output_buffer && nft.run_cmd_from_buffer;
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

/** Under the lock. */
static void write_all(void)
{
	char *commands = NULL;
	size_t length = 0;
	FILE *to = open_memstream(&commands, &length);

	stale = TRUE;
	if (to)
	{
		plain_write(to, table);
		fclose(to);
		stale = !run(commands);
		free(commands);
	}
}

static job_requeue_t update(void *unused)
{
	atomic_store(&pending, false);
	lock->lock(lock);
	if (ctx)
	{
		write_all();
	}
	lock->unlock(lock);
	return JOB_REQUEUE_NONE;
}

void plain_changed(void)
{
	if (ctx && !atomic_exchange(&pending, true))
	{
		lib->processor->queue_job(lib->processor, (job_t*)callback_job_create_with_prio(update, NULL, NULL, NULL,
																						JOB_PRIO_HIGH));
	}
}

/** The names of all tables of this family, each in a line; NULL: they cannot be listed. */
static const char *list_tables(void)
{
	const char *tables = NULL;

	if (nft.run_cmd_from_buffer(ctx, "list tables inet") == 0)
	{
		tables = nft.ctx_get_output_buffer(ctx);
	}
	else
	{
		/* It is empty once it was read. */
		nft.ctx_get_error_buffer(ctx);
	}
	return tables;
}

/** Whether the table is known to be there: whoever loads a firewall anew may begin with removing everything. */
static bool is_there(void)
{
	char line[sizeof(table) + 16];
	const char *tables = list_tables();

	snprintf(line, sizeof(line), "table inet %s\n", table);
	return tables && strstr(tables, line);
}

static job_requeue_t look(void *unused)
{
	bool wanted;

	lock->lock(lock);
	wanted = ctx != NULL;
	if (wanted && (stale || !is_there()))
	{
		bool removed = !stale;

		write_all();
		if (removed && !stale)
		{
			DBG1(DBG_KNL, "the nftables table %s was removed; it is there again", table);
		}
	}
	lock->unlock(lock);
	return wanted ? JOB_RESCHEDULE(LOOK_AGAIN) : JOB_REQUEUE_NONE;
}

static bool remove_table(const char *name)
{
	char commands[2 * sizeof(table) + 64];

	snprintf(commands, sizeof(commands), "table inet %s\ndelete table inet %s\n", name, name);
	return run(commands);
}

/** A table is called after the TUN device: what is no letter or digit in the name is written as a number. */
static void name_table(const char *tun)
{
	size_t at = (size_t)snprintf(table, sizeof(table), PREFIX);

	for (; *tun; tun++)
	{
		at += (size_t)snprintf(table + at, sizeof(table) - at, isalnum((unsigned char)*tun) ? "%c" : "_%02x", (unsigned char)*tun);
	}
}

/** Whether the TUN device that a table is called after is there. */
static bool is_alive(const char *name)
{
	char tun[sizeof(table)];
	size_t length = 0;

	for (name += strlen(PREFIX); *name; name++)
	{
		unsigned code;

		if (*name == '_' && sscanf(name + 1, "%2x", &code) == 1 && name[1] && name[2])
		{
			tun[length++] = (char)code;
			name += 2;
		}
		else
		{
			tun[length++] = *name;
		}
	}
	tun[length] = '\0';
	return if_nametoindex(tun) != 0;
}

/** The tables of charons that were killed: their packets may go again. */
static void remove_old(void)
{
	const char *tables = list_tables();
	char *copy = tables ? strdup(tables) : NULL, *rest = copy, *line, name[sizeof(table)];

	while (rest && (line = strsep(&rest, "\n")))
	{
		if (sscanf(line, "table inet %63s", name) == 1 && strpfx(name, PREFIX) && (streq(name, table) || !is_alive(name)))
		{
			DBG1(DBG_KNL, "removing the nftables table %s of a charon that is gone", name);
			remove_table(name);
		}
	}
	free(copy);
}

/** Whether the table is wanted. Where others make the routes, a policy for everything does not mean everything. */
static bool is_wanted(void)
{
	bool routes = lib->settings->get_bool(lib->settings, "%s.install_routes", TRUE, lib->ns);

	return lib->settings->get_bool(lib->settings, "%s.plugins.kernel-gipsec.drop_plain", routes, lib->ns);
}

static void close_library(void)
{
	if (ctx)
	{
		nft.ctx_free(ctx);
	}
	ctx = NULL;
	if (nft.library)
	{
		dlclose(nft.library);
		nft.library = NULL;
	}
}

/** Whether nftables can be used, and if not, why. */
static bool open_library(const char **why)
{
	*why = "libnftables.so.1 is not installed";
	if (!load())
	{
		return FALSE;
	}
	*why = "there is no nftables here";
	ctx = nft.ctx_new(0);
	return ctx && !nft.ctx_buffer_error(ctx) && !nft.ctx_buffer_output(ctx) && list_tables();
}

void plain_create(void)
{
	bool wanted = is_wanted();
	const char *why;

	lock = mutex_create(MUTEX_TYPE_DEFAULT);
	name_table(tun_name());
	if (!open_library(&why))
	{
		if (wanted)
		{
			DBG1(DBG_KNL, "plain packets from the network are not dropped: %s", why);
		}
		close_library();
		return;
	}
	remove_old();
	if (!wanted)
	{
		close_library();
		return;
	}
	lib->scheduler->schedule_job(lib->scheduler, (job_t*)callback_job_create(look, NULL, NULL, NULL), LOOK_AGAIN);
	plain_changed();
}

void plain_destroy(void)
{
	if (ctx)
	{
		remove_table(table);
	}
	close_library();
	lock->destroy(lock);
}
