"""Organizations, keys, domains, pools and sources: what is so, and how an operator changes it.

**Problem.** Accept, route and send need control state on every message, also while PostgreSQL is
down; an operator's change must survive `kill -9` the moment the command answers.
**Model.** The truth is the compacted topic ``email.config``. A change is appended durably, then an
immutable snapshot is swapped, then listeners are told, in that order.
**Invariants.** Readers never lock and never see half a change. A domain belongs to one
organization. Of an API key only its hash is stored; a DKIM key is sealed with the master key.
**Not here.** Rows for people to query: PostgreSQL's tables are a projection of the topic.
"""
