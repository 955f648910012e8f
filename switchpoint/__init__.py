"""When should we switch models? Route units to model variants, count exactly once, decide with evidence."""
