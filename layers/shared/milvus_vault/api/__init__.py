"""The HTTP API: one module of routes for each kind of resource, and what they have in common.

`routing` says what a route is, `app` answers a request, `problems` turns errors into answers, and `openapi`
describes it all. Routes call the domain and return models; none of them knows HTTP.
"""
