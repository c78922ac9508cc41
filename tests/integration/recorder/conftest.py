from tests.fixtures.hot import hot_dsn, hot_server, own_server

__all__ = ["hot_dsn", "hot_server", "own_server"]
