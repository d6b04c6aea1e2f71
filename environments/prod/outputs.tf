output "subnets" {
  description = "The range of each zone."
  value       = module.network.subnets
}

output "instances" {
  description = "The zone of each instance, by service."
  value       = { for name, service in module.service : name => service.instances }
}

output "tables" {
  description = "Names of the tables."
  value       = module.database.tables
}

output "database_url" {
  description = "Where the database is, with its password."
  value       = module.database.url
  sensitive   = true
}
