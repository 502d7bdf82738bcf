"""
Run by alembic: brings the schema up to date on the connection `store/database.py` hands over.

That connection is inside a transaction already, so that all steps happen or none (R-DB-5).
"""

from alembic import context

from m3u8svc.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
