"""Many recipes compared on one person's data: plans, cells, jobs, and the tables that they fill."""
