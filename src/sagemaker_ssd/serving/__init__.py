"""The front of hosting: answers HTTP requests, and has child processes detect. Needs no MXNet."""
