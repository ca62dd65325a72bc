/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes.h"

#include "tun.h"

#include <threading/mutex.h>

typedef struct route_t {
	chunk_t net;
	uint8_t prefix;
	bool pass;
	host_t *src;
	unsigned refs;
} route_t;

static linked_list_t *routes;
static mutex_t *lock;
static bool enabled;

bool routes_create(void)
{
	routes = linked_list_create();
	lock = mutex_create(MUTEX_TYPE_DEFAULT);
	enabled = lib->settings->get_bool(lib->settings, "%s.install_routes", TRUE, lib->ns);
	return TRUE;
}

static status_t install(route_t *this)
{
	return charon->kernel->add_route(charon->kernel, this->net, this->prefix, NULL, this->src, tun_name(), this->pass);
}

static void uninstall(route_t *this)
{
	charon->kernel->del_route(charon->kernel, this->net, this->prefix, NULL, this->src, tun_name(), this->pass);
}

static void destroy(route_t *this)
{
	chunk_free(&this->net);
	DESTROY_IF(this->src);
	free(this);
}

void routes_destroy(void)
{
	route_t *route;

	while (routes->remove_first(routes, (void**)&route) == SUCCESS)
	{
		uninstall(route);
		destroy(route);
	}
	routes->destroy(routes);
	lock->destroy(lock);
}

/** Under the lock. */
static route_t *find(chunk_t net, uint8_t prefix, bool pass)
{
	enumerator_t *enumerator = routes->create_enumerator(routes);
	route_t *route, *found = NULL;

	while (!found && enumerator->enumerate(enumerator, &route))
	{
		if (route->prefix == prefix && route->pass == pass && chunk_equals(route->net, net))
		{
			found = route;
		}
	}
	enumerator->destroy(enumerator);
	return found;
}

/** Our address that packets to these destinations are to come from. */
static host_t *source(traffic_selector_t *src, host_t *outer)
{
	host_t *address = NULL;
	bool is_virtual;

	if (charon->kernel->get_address_by_ts(charon->kernel, src, &address, &is_virtual) == SUCCESS)
	{
		return address;
	}
	/* A gateway without an address of its own behind it only forwards. */
	return outer && !outer->is_anyaddr(outer) ? outer->clone(outer) : NULL;
}

bool route_add(traffic_selector_t *src, traffic_selector_t *dst, host_t *outer, bool pass)
{
	host_t *net = NULL, *address;
	uint8_t prefix;
	route_t *route;
	bool done = TRUE;

	if (!enabled || !dst->to_subnet(dst, &net, &prefix))
	{
		/* A range that is no subnet has the smallest one around it, which is what is wanted. */
		if (!enabled || !net)
		{
			return TRUE;
		}
	}
	lock->lock(lock);
	route = find(net->get_address(net), prefix, pass);
	if (route)
	{
		route->refs++;
	}
	else
	{
		address = source(src, outer);
		if (address && address->get_family(address) != net->get_family(net))
		{
			address->destroy(address);
			address = NULL;
		}
		if (address || pass)
		{
			status_t status;

			INIT(route,
				.net = chunk_clone(net->get_address(net)),
				.prefix = prefix,
				.pass = pass,
				.src = address,
				.refs = 1,
			);
			status = install(route);
			if (status == SUCCESS || status == ALREADY_DONE)
			{
				routes->insert_last(routes, route);
			}
			else
			{
				DBG1(DBG_KNL, "the route to %R cannot be installed", dst);
				destroy(route);
				done = FALSE;
			}
		}
		else
		{
			DBG1(DBG_KNL, "there is no route to %R: we have no address for %R", dst, src);
		}
	}
	lock->unlock(lock);
	net->destroy(net);
	return done;
}

void route_delete(traffic_selector_t *dst, bool pass)
{
	host_t *net = NULL;
	uint8_t prefix;
	route_t *route;

	if (!enabled || (!dst->to_subnet(dst, &net, &prefix) && !net))
	{
		return;
	}
	lock->lock(lock);
	route = find(net->get_address(net), prefix, pass);
	if (route && --route->refs == 0)
	{
		routes->remove(routes, route, NULL);
		uninstall(route);
		destroy(route);
	}
	lock->unlock(lock);
	net->destroy(net);
}

bool routes_reinstall(void)
{
	enumerator_t *enumerator;
	route_t *route;
	bool done = TRUE;

	lock->lock(lock);
	enumerator = routes->create_enumerator(routes);
	while (enumerator->enumerate(enumerator, &route))
	{
		if (!route->pass)
		{
			/* charon still has those that went with the device. */
			uninstall(route);
			done &= install(route) == SUCCESS;
		}
	}
	enumerator->destroy(enumerator);
	lock->unlock(lock);
	return done;
}
