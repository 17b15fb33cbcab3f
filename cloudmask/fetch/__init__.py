"""Search and download of Sentinel-3 SLSTR products from the services that keep them.

eodag (an optional package) knows the services: their searches, logins and addresses. What it lacks is here: the newest
of twins, single files, checksums, free space, and downloads that are resumed.
"""
