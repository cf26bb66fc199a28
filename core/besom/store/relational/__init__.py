"""What the backends on relational databases share: the protocol's logic, over a few dozen named queries.

A backend brings a `Database` and its own text of each query; see `besom.store.sqlite` and
`besom.store.postgres`.
"""
