"""Downloads from web servers, by several streams, resumed after any interruption."""
