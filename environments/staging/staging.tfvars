cidr              = "10.20.0.0/16"
zones             = { a = 0, b = 1 }
instance_limit    = 4
database_size_gib = 20

services = {
  web = {
    image    = "example/web:2.4.0"
    replicas = 2
    settings = { log_level = "info" }
  }
  worker = {
    image    = "example/worker:1.9.2"
    settings = { queue = "orders" }
  }
}
