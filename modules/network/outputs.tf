output "subnets" {
  description = "The range of each zone."
  value       = { for zone, subnet in terraform_data.subnet : zone => subnet.input.cidr }
}
