"""Files from web servers, fetched by several streams and gone on with after any break."""
