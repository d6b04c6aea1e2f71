output "subnets" {
  description = "The range of each zone."
  value       = module.network.subnets
}

output "instances" {
  description = "The zone of each instance, by service."
  value       = { for name, service in module.service : name => service.instances }
}
